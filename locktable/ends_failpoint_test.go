//go:build linux && failpoint

package locktable_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/sys/goid"
	"github.com/godsm/godsm/internal/testing/swaptest"
	"github.com/godsm/godsm/locktable"
	"github.com/godsm/godsm/shm/dsa"
	"github.com/godsm/godsm/shm/shmsync"
)

// ending is a table as two sessions see it. The end of the first one's makes its bytes inaccessible, so that a load or
// store outside of a fault scope ends the process.
type ending struct {
	memory *swaptest.Memory
	first  *swaptest.Session
	area   *dsa.Area
	x      *locktable.Table // the first session's, which a call uses
	others *swaptest.Session
	beside *dsa.Area
	other  *locktable.Table
	boxes  [4]shmsync.MailboxWord
	deaths []func(dead shmsync.Peer) // the other session's
	at     map[string]func()         // called once, when the call has come to the point
	late   []func()                  // give back what the call has got
	last   []func() error            // wait for the other session's calls
}

func (e *ending) self(s *swaptest.Session) shmsync.Self {
	self := s.Self()
	self.Mailbox = shmsync.NewMailbox(e.boxes[:], nil, self)
	if s == e.others {
		self.OnDeath = func(f func(dead shmsync.Peer)) func() { e.deaths = append(e.deaths, f); return func() {} }
	}
	return self
}

func newEnding(t *testing.T) *ending {
	e := &ending{memory: swaptest.New(t), at: map[string]func(){}}
	e.first, e.others = e.memory.Session(1), e.memory.Session(2)
	e.first.Checked = true
	var err error
	e.beside, err = dsa.Create(ctx, e.others, e.self(e.others), dsa.Options{Sessions: 4})
	must(t, err)
	e.other, err = locktable.Create(e.beside, locktable.Options{Application: "other"})
	must(t, err)
	e.area, err = e.join(e.first)
	must(t, err)
	e.x, err = locktable.Attach(e.area, e.other.Handle(), locktable.Options{Application: "first", DeadlockAfter: time.Millisecond})
	must(t, err)
	return e
}

// join attaches the area for a session.
func (e *ending) join(s *swaptest.Session) (*dsa.Area, error) {
	return dsa.Attach(ctx, s, e.self(s), e.beside.Handle())
}

// endWays are the ways in which the bytes of the first session end while its call stands at a point. Each reports
// whether other sessions can use the table afterwards.
var endWays = map[string]func(e *ending) (usable bool){
	// Its bytes go at once, as those of a session that does not wait for its calls.
	"swapped": func(e *ending) bool { e.patiently(func() { e.first.End(); e.first.Swap() }); return true },
	// It is closed by another goroutine, in the order in which package dsm does it.
	"session closed": func(e *ending) bool {
		e.patiently(func() { e.first.End(); e.x.Close(); _ = e.area.Detach(); e.first.Swap() })
		return true
	},
	// It goes on, and only the table is closed, and its area detached.
	"table closed": func(e *ending) bool { e.patiently(func() { e.x.Close(); _ = e.area.Detach() }); return true },
	// The area is detached without a Close of the table.
	"area detached": func(e *ending) bool { e.patiently(func() { _ = e.area.Detach() }); return true },
	// Its objects are truncated, which is no end of a view.
	"truncated": func(e *ending) bool {
		for _, h := range e.memory.Handles() {
			_ = e.memory.Truncate(h, 0)
		}
		return false
	},
}

// patiently runs f in another goroutine, and waits for it as long as f may not just wait for the call that stands here.
func (e *ending) patiently(f func()) {
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	e.late = append(e.late, func() { <-done })
	select {
	case <-done:
	case <-time.After(10 * time.Millisecond): // a lease, or a lock, of the call's keeps it: it goes on when the call does
	}
}

// TestEndAtEachPoint makes each call on a table, and ends the bytes under it at each point that the call comes to: it
// ends with an error or nil, nothing faults or hangs, and others find nothing of it that is left.
func TestEndAtEachPoint(t *testing.T) {
	all := map[string]bool{}
	var mu sync.Mutex
	for _, call := range slices.Sorted(maps.Keys(endCalls)) {
		var points []string
		endAt(t, call, "", "", func(p string) {
			mu.Lock()
			defer mu.Unlock()
			if !slices.Contains(points, p) {
				points = append(points, p)
			}
		})
		for i, p := range points {
			all[p] = true
			for k, way := range slices.Sorted(maps.Keys(endWays)) {
				if testing.Short() && (i+k)%7 != 0 {
					continue
				}
				endAt(t, call, way, p, func(string) {})
			}
		}
	}
	mine := 0
	for p := range all {
		if strings.HasPrefix(p, "locktable/") {
			mine++
		}
	}
	t.Logf("%d calls, which come to %d points, %d of them in this package", len(endCalls), len(all), mine)
	if mine < 25 {
		t.Errorf("the calls come to %d points of the table", mine)
	}
}

// endAt makes a call, and ends the bytes in one way when it first comes to a point; without a way it does not.
func endAt(t *testing.T, call, way, point string, seen func(p string)) {
	t.Helper()
	e := newEnding(t)
	f := endCalls[call](t, e)
	usable, ended := true, false
	over := make(chan error, 1)
	go func() {
		me := goid.Current()
		var once sync.Once
		stop := failpoint.Watch(func(p string) {
			if goid.Current() != me || ended {
				return
			}
			seen(p)
			if p == point && way != "" {
				ended = true
				usable = endWays[way](e)
				return
			}
			if at := e.at[p]; at != nil {
				once.Do(at)
			}
		})
		short, cancel := context.WithTimeout(ctx, 5*time.Millisecond)
		err := f(short)
		cancel()
		stop()
		over <- err
	}()
	what := fmt.Sprintf("%s, %s at %s", call, way, point)
	var err error
	select {
	case err = <-over:
	case <-time.After(time.Minute):
		panic(what + ": it waits for ever")
	}
	corrupt := errors.Is(err, locktable.ErrCorrupt)
	switch {
	case err == nil, errors.Is(err, locktable.ErrClosed), errors.Is(err, locktable.ErrHeld), errors.Is(err, locktable.ErrBusy),
		errors.Is(err, context.DeadlineExceeded), errors.Is(err, locktable.ErrNotHeld):
	case corrupt && way == "truncated":
	default:
		t.Errorf("%s: %v", what, err)
	}
	for _, f := range slices.Backward(e.late) {
		f()
	}
	for _, f := range e.last {
		if err := f(); err != nil && usable {
			t.Errorf("%s: another session's call: %v", what, err)
		}
	}
	e.x.Close()
	_ = e.area.Detach()
	if n := e.first.Mapped(); n > 0 && way != "truncated" {
		t.Errorf("%s: %d segments are still mapped, for a lease that has not ended", what, n)
	}
	_ = e.first.Close()
	if usable {
		for _, f := range e.deaths {
			f(e.first.Self().Peer)
		}
		e.nothingLeft(t, what)
	}
	e.other.Close()
	_ = e.others.Close()
}

// names of locks that calls use.
var endNames = [][]string{{"a"}, {"b"}, {"busy"}, {"layers"}, {"layers", "x"}, {"layers", "y"}, {strings.Repeat("long ", 20)}}

// nothingLeft looks that other sessions find no lock, wait or record of the first one.
func (e *ending) nothingLeft(t *testing.T, what string) {
	t.Helper()
	c, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for _, path := range endNames {
		h, err := e.other.Lock(c, locktable.Exclusive, path...)
		if err != nil {
			t.Errorf("%s: another session's lock of %v: %v", what, path, err)
			return
		}
		_ = h.Unlock()
	}
	for i := range e.other.List() {
		if len(i.Holders)+len(i.Waiters) > 0 {
			t.Errorf("%s: %s is left: %+v", what, i.Name(), i)
		}
	}
}
