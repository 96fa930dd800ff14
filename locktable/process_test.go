package locktable_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/internal/testing/proctest"
	"github.com/godsm/godsm/locktable"
)

func init() {
	proctest.Register("holder", holder)
}

// holder holds a lock until its standard input ends or it is killed: DIR MODE PATH...
func holder(p *proctest.Child) error {
	s, err := dsm.Open(ctx, dsm.Config{Dir: p.Args[0], Application: "holder"})
	if err != nil {
		return err
	}
	defer s.Close()
	x, err := locktable.Open(ctx, s, "locks", locktable.Options{})
	if err != nil {
		return err
	}
	m := locktable.Shared
	if p.Args[1] == "exclusive" {
		m = locktable.Exclusive
	}
	ctx, owner := x.As(ctx, "pull alpine:3.20")
	defer owner.Done()
	h, err := x.Lock(ctx, m, p.Args[2:]...)
	if err != nil {
		return err
	}
	p.Say("in")
	p.Hear()
	return h.Unlock()
}

// TestHolderKilled: the one that waits gets the lock, and learns of the death, with what the holder did, until it says
// Repaired.
func TestHolderKilled(t *testing.T) {
	instancetest.Each(t, func(t *testing.T, backend string) {
		cfg := instancetest.Config(t, backend)
		instancetest.Start(t, cfg)
		s := instancetest.Open(t, cfg)
		x, err := locktable.Open(ctx, s, "locks", locktable.Options{})
		must(t, err)
		v := proctest.Start(t, "holder", cfg.Dir, "exclusive", "layers", "a")
		v.Expect("in")
		list := collect(x.Holders("layers", "a"))
		if len(list) != 1 || list[0].Pid != v.Cmd.Process.Pid || list[0].Note != "pull alpine:3.20" || list[0].Application != "holder" {
			t.Fatalf("%+v", list)
		}
		short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
		defer cancel()
		_, err = x.Lock(short, locktable.Shared, "layers", "a")
		if e, ok := errors.AsType[*locktable.WaitError](err); !ok || !errors.Is(err, context.DeadlineExceeded) || len(e.Holders) != 1 {
			t.Fatal(err)
		} else {
			t.Log(err)
		}
		got := make(chan locktable.Hold, 1)
		go func() {
			h, err := x.Lock(ctx, locktable.Exclusive, "layers", "a")
			if err != nil {
				t.Error(err)
			}
			got <- h
		}()
		for len(collect(x.Waiters("layers", "a"))) == 0 {
			time.Sleep(time.Millisecond)
		}
		began := time.Now()
		v.Kill()
		h := <-got
		t.Logf("in after %v", time.Since(began))
		d, ok := h.Recovered()
		if !ok || d.Pid != v.Cmd.Process.Pid || d.Note != "pull alpine:3.20" || d.Times != 1 || d.Below {
			t.Errorf("%+v, %v", d, ok)
		}
		must(t, h.Unlock())
		h = lock(t, x, ctx, locktable.Exclusive, "layers", "a")
		if _, ok := h.Recovered(); !ok {
			t.Error("the death is forgotten")
		}
		must(t, h.Repaired())
		if _, ok := h.Recovered(); ok {
			t.Error("the death is not forgotten")
		}
		must(t, h.Unlock())
		// The parent was held in an intent mode, and is repaired by a holder that has all that is below it. The waiter
		// may have had the child before the dead session was swept.
		for len(collect(x.Holders("layers"))) > 0 {
			time.Sleep(time.Millisecond)
		}
		if left := collect(x.List()); len(left) != 1 || left[0].Name() != "layers" || left[0].Died != 1 || !left[0].Below {
			t.Errorf("%+v", left)
		}
		h = lock(t, x, ctx, locktable.Exclusive, "layers")
		if d, ok := h.Recovered(); !ok || !d.Below {
			t.Errorf("%+v, %v", d, ok)
		}
		must(t, h.Repaired())
		must(t, h.Unlock())
		if left := collect(x.List()); len(left) > 0 {
			t.Errorf("%+v", left)
		}
		x.Close()
		if _, err := x.Lock(ctx, locktable.Shared, "a"); !errors.Is(err, locktable.ErrClosed) {
			t.Error(err)
		}
		x, err = locktable.Open(ctx, s, "locks", locktable.Options{})
		must(t, err)
		must(t, lock(t, x, ctx, locktable.Shared, "a").Unlock())
	})
}
