package shared

import (
	"sync"
	"testing"
	"time"
)

// TestSuccessorTellsWhatWasWritten has a leader stop between COMMIT and what it would do then. Its successor tells
// Rules.Written of the commands before their callers are answered.
func TestSuccessorTellsWhatWasWritten(t *testing.T) {
	w := newWorld(t, Options{Slots: 64, Lease: 50 * time.Millisecond})
	var mu sync.Mutex
	told := map[uint64]string{}
	open := func(row int, j *journal, name string) *Queue[command, uint64] {
		r := rules
		r.Written = func(cmds []command) {
			mu.Lock()
			defer mu.Unlock()
			for _, c := range cmds {
				told[c.id] += name
			}
		}
		return w.openWith(row, j, r)
	}
	by := func(id uint64) string {
		mu.Lock()
		defer mu.Unlock()
		return told[id]
	}
	first := &journal{path: w.path}
	old := open(1, first, "first")
	if _, err := old.Do(ctx, command{id: 1}); err != nil || by(1) != "first" {
		t.Fatalf("told by %q, %v", by(1), err)
	}
	reached, release := first.hang("committed")
	defer release()
	caller := w.open(3, nil)
	var wg sync.WaitGroup
	for i := range 10 {
		wg.Go(func() {
			id := uint64(100 + i)
			_, err := caller.Do(ctx, command{id: id})
			if n := by(id); err != nil || n != "next" {
				t.Errorf("command %d was told by %q, %v", id, n, err)
			}
		})
	}
	<-reached
	stopBeats(w)
	next := open(2, &journal{path: w.path}, "next")
	wg.Wait()
	if s, err := next.Stats(); err != nil || s.Settled == 0 {
		t.Errorf("%+v, %v", s, err)
	}
	release()
	closed(t, caller, next, old)
}
