package shm_test

import (
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/godsm/godsm/shm"
)

func TestViewEndReachesChildrenAndSleepers(t *testing.T) {
	v := shm.NewView(nil)
	c := v.Sub().Sub()
	woken := 0
	c.OnEnd(func() { woken++ })
	stop := c.OnEnd(func() { t.Error("a function was called that had been taken back") })
	stop()
	if v.Ended() || c.Err() != nil {
		t.Fatal("a new view has ended")
	}
	v.End()
	v.End()
	if !c.Ended() || !errors.Is(c.Err(), shm.ErrClosed) || woken != 1 {
		t.Error(c.Ended(), c.Err(), woken)
	}
	if !v.Sub().Ended() || !errors.Is(v.Answer(errors.New("other")), shm.ErrClosed) {
		t.Error("a view of one that has ended has not")
	}
	v.OnEnd(func() { woken++ })
	if woken != 2 {
		t.Error("OnEnd after the end did not call")
	}
}

func TestNilViewNeverEnds(t *testing.T) {
	var v *shm.View
	l, err := v.Enter()
	l.Leave()
	v.OnEnd(func() { t.Error("called") })()
	v.OnDrain(func() { t.Error("called") })
	v.Drain(func() { t.Error("called") })
	v.Report(nil)
	v.End()
	if h, ok := v.Hold(); err != nil || !ok || v.Ended() || v.Answer(nil) != nil {
		t.Error(h, err, ok)
	}
}

func TestViewDrainsAfterTheLastLease(t *testing.T) {
	for round := range 500 {
		v := shm.NewView(nil)
		var inside, drained atomic.Int64
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for {
					l, err := v.Enter()
					if err != nil {
						return
					}
					inside.Add(1)
					if drained.Load() != 0 {
						t.Error("a lease began after the view was drained")
					}
					inside.Add(-1)
					l.Leave()
				}
			})
		}
		for range round % 7 {
			l, _ := v.Enter()
			l.Leave()
		}
		v.End()
		held, ok := v.Hold()
		v.Drain(func() {
			if n := inside.Load(); n != 0 {
				t.Errorf("drained with %d inside", n)
			}
			drained.Add(1)
		})
		if drained.Load() != 0 || !ok {
			t.Fatal("drained while held")
		}
		wg.Wait()
		held.Leave()
		if drained.Load() != 1 {
			t.Fatal("not drained")
		}
		if _, ok := v.Hold(); ok {
			t.Fatal("held after it was drained")
		}
	}
}

func TestViewAtFindsTheViewByAddress(t *testing.T) {
	b := make([]byte, 4096)
	low, high := shm.NewView(b[:1024]), shm.NewView(b[2048:])
	for _, c := range []struct {
		at   int
		want *shm.View
	}{{0, low}, {1023, low}, {1024, nil}, {2047, nil}, {2048, high}, {4095, high}} {
		if got := shm.ViewAt(&b[c.at]); got != c.want {
			t.Errorf("byte %d: %p, not %p", c.at, got, c.want)
		}
	}
	shm.Forget(b[:1024])
	if shm.ViewAt(&b[0]) != nil || shm.ViewAt(&b[2048]) != high {
		t.Error("Forget")
	}
	shm.Forget(b[2048:])
}

func BenchmarkViewEnter(b *testing.B) {
	v := shm.NewView(nil)
	for b.Loop() {
		l, _ := v.Enter()
		l.Leave()
	}
}

// TestViewFunctionsThatPanic: each function is called, whatever the others do. Report names each that panicked; without one
// the panic goes on in the end.
func TestViewFunctionsThatPanic(t *testing.T) {
	for _, reported := range []bool{true, false} {
		for _, when := range []string{"end", "drain", "leave", "child"} {
			v := shm.NewView(nil)
			var told []error
			if reported {
				v.Report(func(err error) { told = append(told, err) })
			}
			v = v.Sub()
			lease, _ := v.Enter()
			ran := 0
			add := func(f func()) { v.OnEnd(f) }
			end := v.End
			switch when {
			case "drain", "leave":
				add = v.OnDrain
				v.Drain(func() { ran++ })
			case "child":
				v = v.Sub()
			}
			if when == "leave" {
				v.End()
				end = lease.Leave
			} else {
				lease.Leave()
			}
			for range 3 {
				add(func() { ran++; panic("no") })
			}
			func() {
				defer func() {
					if r := recover(); (r != nil) == reported {
						t.Errorf("%s, with a report: %v; panic %v", when, reported, r)
					}
				}()
				end()
			}()
			want := 3
			if when == "drain" || when == "leave" {
				want = 4
			}
			if ran != want || reported && (len(told) != 3 || !strings.Contains(told[0].Error(), "TestViewFunctionsThatPanic")) {
				t.Errorf("%s: %d functions were called, of %d; told %v", when, ran, want, told)
			}
		}
	}
}
