//go:build linux && failpoint

package shmsync_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/shm/shmsync"
)

// hinder is what others do while a call runs, so that it comes by more points.
var hinder = map[string]func(t *testing.T, e *ending) (undo func()){
	"free": func(*testing.T, *ending) func() { return func() {} },
	"held": func(t *testing.T, e *ending) func() {
		g := must(shmsync.NewLWLock(&e.theirs.Lock, e.other).Lock(ctx))
		m := must(shmsync.NewMutex(&e.theirs.Mutex, e.other).Lock(ctx))
		return func() { g.Unlock(); m.Unlock() }
	},
	"read": func(t *testing.T, e *ending) func() {
		g := must(shmsync.NewLWLock(&e.theirs.Lock, e.other).RLock(ctx))
		return func() { g.Unlock() }
	},
	"left by the dead": func(t *testing.T, e *ending) func() {
		dead := shmsync.Self{Peer: shmsync.Peer{Row: shmsync.MaxRows - 1, Incarnation: 9}, Alive: everybodyLives}
		must(shmsync.NewLWLock(&e.theirs.Lock, dead).Lock(ctx))
		must(shmsync.NewMutex(&e.theirs.Mutex, dead).Lock(ctx))
		e.dead.Store(true)
		return func() {}
	},
	"attached": func(t *testing.T, e *ending) func() {
		must(e.barrier.Attach())
		must(shmsync.NewBarrier(&e.theirs.Barrier, e.other).Attach())
		if err := e.latch.Own(); err != nil {
			t.Fatal(err)
		}
		return func() {}
	},
}

// TestEndAtEachPoint ends the view at each point of each method, in that very goroutine: the bytes are swapped between
// two of its instructions. In checked mode they are inaccessible then, so that an access outside of a fault scope ends the
// process.
func TestEndAtEachPoint(t *testing.T) {
	for _, checked := range []bool{false, true} {
		for _, how := range slices.Sorted(maps.Keys(hinder)) {
			for _, name := range slices.Sorted(maps.Keys(newEnding(t).calls())) {
				points := run(t, checked, how, name, "")
				for _, p := range points {
					if checked && strings.HasPrefix(name, "Count.") { // it is bytes, as its doc says
						continue
					}
					run(t, checked, how, name, p)
				}
				if name == "LWLock.Lock" && len(points) == 0 {
					t.Errorf("%s, %s: it comes by no point", how, name)
				}
			}
		}
	}
}

// run makes a call, ends the view when it comes to a point, and returns the points that it came to.
func run(t *testing.T, checked bool, how, name, point string) (points []string) {
	t.Helper()
	e := newEndingOf(t, checked)
	end := e.End
	if checked {
		end = e.EndChecked
	}
	undo := hinder[how](t, e)
	short, cancel := context.WithTimeout(ctx, 5*time.Millisecond)
	defer cancel()
	var mu sync.Mutex
	var ended atomic.Bool
	stop := failpoint.Watch(func(p string) {
		mu.Lock()
		if !slices.Contains(points, p) {
			points = append(points, p)
		}
		mu.Unlock()
		if p == point && !ended.Swap(true) { // the end itself comes by points, too
			end()
		}
	})
	err := e.calls()[name](short)
	stop()
	if err != nil && !errors.Is(err, shmsync.ErrClosed) && (point != "" || !errors.Is(err, context.DeadlineExceeded)) {
		t.Errorf("%s, %s, the view ended at %s: %v", how, name, point, err)
	}
	end()
	undo()
	e.given(t, how+", "+name+", the view ended at "+point)
	return points
}
