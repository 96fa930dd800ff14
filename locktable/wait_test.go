package locktable_test

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"time"

	"github.com/godsm/godsm/locktable"
)

// TestOnWaitEndsInEveryWay: a wait of a second is reported, once, and goes on whatever becomes of that call.
func TestOnWaitEndsInEveryWay(t *testing.T) {
	outs := map[string]func(){
		"return": func() {}, "panic": func() { panic("out") }, "nil": func() { panic(nil) }, "goexit": runtime.Goexit,
	}
	for name, out := range outs {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			told := make(chan locktable.WaitError, 2)
			ts := new(world).tables(t, 2, locktable.Options{OnWait: func(e locktable.WaitError) {
				told <- e
				out()
			}})
			h := lock(t, ts[0], ctx, locktable.Exclusive, "a")
			done := begin(t, ts[0], 1, func() error {
				h, err := ts[1].Lock(ctx, locktable.Shared, "a")
				if err == nil {
					err = h.Unlock()
				}
				return err
			}, "a")
			e := <-told
			if e.Name != "a" || len(e.Holders) != 1 || e.Waited < time.Second || e.Err != nil {
				t.Errorf("%+v", e)
			}
			must(t, h.Unlock())
			must(t, <-done)
			if len(told) > 0 {
				t.Error("told twice")
			}
		})
	}
}

// TestWaitErrorNamesTheHolder: who waited, for how long, for whom, and behind how many.
func TestWaitErrorNamesTheHolder(t *testing.T) {
	ts := new(world).tables(t, 3, locktable.Options{})
	mine, o := ts[0].As(ctx, "unpacks layer 3 of 7")
	h := lock(t, ts[0], mine, locktable.Exclusive, "layers", "a")
	long, stop := context.WithCancelCause(ctx)
	first := begin(t, ts[0], 1, func() error {
		_, err := ts[1].Lock(long, locktable.Exclusive, "layers", "a")
		return err
	}, "layers", "a")
	o.Note("unpacks layer 4 of 7")
	short, end := context.WithCancelCause(ctx)
	second := begin(t, ts[0], 2, func() error {
		_, err := ts[2].Lock(short, locktable.Shared, "layers", "a")
		return err
	}, "layers", "a")
	time.Sleep(20 * time.Millisecond) // it waits already, so it has waited for that long at least
	end(context.DeadlineExceeded)
	err := <-second
	e, ok := errors.AsType[*locktable.WaitError](err)
	if !ok || !errors.Is(err, context.DeadlineExceeded) || e.Ahead != 1 || len(e.Holders) != 1 || e.Name != "layers/a" ||
		e.Holders[0].Note != "unpacks layer 4 of 7" || e.Holders[0].Application != "first" || e.Waited < 20*time.Millisecond {
		t.Errorf("%v: %+v", err, e)
	}
	cause := errors.New("the user has gone")
	stop(cause)
	if err := <-first; !errors.Is(err, cause) {
		t.Error(err)
	}
	must(t, h.Unlock())
	o.Done()
}
