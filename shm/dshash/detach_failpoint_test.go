//go:build failpoint && linux

package dshash_test

import (
	"errors"
	"testing"
	"time"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/shm/dshash"
)

// detaching are uses, and those that change arrays, which need a table with few entries.
func detaching() []struct {
	name string
	call func(w world, n uint64) error
} {
	return append(uses, struct {
		name string
		call func(w world, n uint64) error
	}{"grow and shrink", func(w world, n uint64) error {
		for k := uint64(1000); k < 1040; k++ {
			if err := w.tab.Set(ctx, k, seal(k)); err != nil {
				return err
			}
		}
		for k := uint64(1000); k < 1040; k++ {
			if _, err := w.tab.Delete(ctx, k); err != nil {
				return err
			}
		}
		return nil
	}})
}

// TestDetachInside: at each point inside of each call another goroutine detaches the area, or ends the session. The answer
// is right, or ErrClosed; no load faults where bytes that have ended are inaccessible; and no call of another session is
// an error, since no process has died and no byte is garbled.
func TestDetachInside(t *testing.T) {
	ends := map[string]func(s stage){
		"detach": func(s stage) { _ = s.second.area.Detach() },
		"close":  func(s stage) { _ = s.closes.Close() },
	}
	for _, use := range detaching() {
		for name, end := range ends {
			t.Run(use.name+", "+name, func(t *testing.T) {
				for nth, came := 0, true; came && !t.Failed(); nth++ {
					if testing.Short() && nth > 0 {
						nth += 12
					}
					came = detachAt(t, use.call, end, nth)
				}
			})
		}
	}
}

func detachAt(t *testing.T, call func(w world, n uint64) error, end func(s stage), nth int) (came bool) {
	s := newStageOf(t, 1, true)
	n, point, over := 0, "", make(chan struct{})
	stop := failpoint.Watch(func(p string) {
		if came {
			return
		}
		if n++; n == nth+1 {
			came, point = true, p
			go func() { defer close(over); end(s) }()
			select {
			case <-over:
			case <-time.After(5 * time.Millisecond): // it waits for the call, which goes on
			}
		}
	})
	err := call(s.second, 3)
	stop()
	if came {
		<-over
	}
	if err != nil && !errors.Is(err, dshash.ErrClosed) {
		t.Errorf("ended at %s, the %dth: %v", point, nth, err)
	}
	for k := uint64(1000); k < 1030; k++ {
		if err := s.first.tab.Set(ctx, k, seal(k)); err != nil {
			t.Errorf("ended at %s, the %dth: another session's Set: %v", point, nth, err)
		}
	}
	for k := uint64(1000); k < 1040; k++ {
		if _, err := s.first.tab.Delete(ctx, k); err != nil {
			t.Errorf("ended at %s, the %dth: another session's Delete: %v", point, nth, err)
		}
	}
	if s.end(t); t.Failed() {
		t.Errorf("ended at %s, the %dth", point, nth)
	}
	return came
}
