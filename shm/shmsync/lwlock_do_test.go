package shmsync_test

import (
	"context"
	"errors"
	"io/fs"
	"runtime"
	"sync"
	"testing"

	"github.com/godsm/godsm/shm/shmsync"
)

// TestDoEveryWayOut: whichever way out the function takes, the lock is given back and is in order.
func TestDoEveryWayOut(t *testing.T) {
	own := errors.New("the function's own")
	for way, out := range map[string]func() error{
		"return": func() error { return nil },
		"fail":   func() error { return own },
		"panic":  func() error { panic(own) },
		"goexit": func() error { runtime.Goexit(); return nil },
	} {
		l, other := lockPair()
		var panicked any
		outcome := make(chan error, 1)
		go func() {
			var err error
			defer func() { panicked = recover(); outcome <- err }()
			err = l.Do(ctx, func() error {
				if _, ok, _ := other.TryRLock(); ok {
					t.Error("the lock is free while the function runs")
				}
				return out()
			})
		}()
		err := <-outcome
		if (way == "fail") != errors.Is(err, own) || (way == "panic") != (panicked == any(own)) {
			t.Errorf("%s: %v, panic %v", way, err, panicked)
		}
		g, ok, err := other.TryLock()
		if !ok || err != nil || g.Abandoned() {
			t.Errorf("%s: the lock is not free and in order: %v", way, err)
		}
		g.Unlock()
	}
}

// TestDoAfterDeath: Do does not call its function where what the lock guards may be half-written, and leaves the lock
// to a caller that can repair.
func TestDoAfterDeath(t *testing.T) {
	var all world
	w := new(shmsync.LWLockWord)
	must(shmsync.NewLWLock(w, all.self(7)).Lock(ctx))
	all.kill(7)
	l, other := shmsync.NewLWLock(w, all.self(1)), shmsync.NewLWLock(w, all.self(2))
	called := func() error { t.Error("the function was called"); return nil }
	for _, l := range []*shmsync.LWLock{l, other, l} {
		if err := l.Do(ctx, called); !errors.Is(err, shmsync.ErrNotRecoverable) {
			t.Errorf("Do = %v", err)
		}
	}
	g := must(other.Recover(ctx))
	if !g.Abandoned() {
		t.Error("the lock is not Abandoned any more")
	}
	g.MarkConsistent()
	g.Unlock()
	if err := l.Do(ctx, func() error { return nil }); err != nil {
		t.Errorf("after the repair: %v", err)
	}
	must(other.Lock(ctx))
	all.kill(2)
	g = must(l.Lock(ctx))
	g.Unlock() // without a repair: poisoned
	if err := l.Do(ctx, called); !errors.Is(err, shmsync.ErrNotRecoverable) {
		t.Errorf("Do with a poisoned lock = %v", err)
	}
}

func TestDoRefusals(t *testing.T) {
	l, other := lockPair()
	if err := l.Do(ctx, nil); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("without a function: %v", err)
	}
	g := must(other.Lock(ctx))
	over, cancel := context.WithCancel(ctx)
	cancel()
	if err := l.Do(over, func() error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that is over: %v", err)
	}
	g.Unlock()
	var wg sync.WaitGroup
	n := 0
	for i := range 8 {
		wg.Go(func() {
			for range 1000 {
				if err := []*shmsync.LWLock{l, other}[i%2].Do(ctx, func() error { n++; return nil }); err != nil {
					t.Error(err)
				}
			}
		})
	}
	if wg.Wait(); n != 8000 {
		t.Errorf("%d of 8000", n)
	}
}
