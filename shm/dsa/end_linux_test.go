package dsa_test

import (
	"errors"
	"io"
	"runtime"
	"sync"
	"testing"

	"github.com/godsm/godsm/internal/testing/swaptest"
	"github.com/godsm/godsm/shm/dsa"
)

// placing is held by the goroutine that writes the word, which no other may do at the same time.
var placing sync.Mutex

// uses are the calls of an area in which its session ends.
var uses = []struct {
	name string
	call func(a *dsa.Area, ps []dsa.Pointer) error
}{
	{"alloc", func(a *dsa.Area, _ []dsa.Pointer) error {
		for _, n := range []int{24, 3000, 30_000, 200_000} {
			if _, err := a.Alloc(n); err != nil {
				return err
			}
		}
		return nil
	}},
	{"zeroed", func(a *dsa.Area, _ []dsa.Pointer) error { _, err := a.AllocZeroed(5000); return err }},
	{"new", func(a *dsa.Area, _ []dsa.Pointer) error { _, _, err := dsa.New[[9]uint64](a); return err }},
	{"free", func(a *dsa.Area, ps []dsa.Pointer) error {
		for _, p := range ps {
			if err := a.Free(p); err != nil {
				return err
			}
		}
		return nil
	}},
	{"bytes", func(a *dsa.Area, ps []dsa.Pointer) error {
		for _, p := range ps {
			b, err := a.Bytes(p)
			if err != nil {
				return err
			}
			clear(b)
		}
		return nil
	}},
	{"place", func(a *dsa.Area, ps []dsa.Pointer) error {
		placing.Lock()
		defer placing.Unlock()
		at, err := a.Place(ps[1], 8)
		if err != nil {
			return err
		}
		at.Clear()
		if err := a.AllocInto(100, at); err != nil {
			return err
		}
		return a.FreeFrom(at)
	}},
	{"trim", func(a *dsa.Area, _ []dsa.Pointer) error { return a.Trim(ctx) }},
	{"verify", func(a *dsa.Area, _ []dsa.Pointer) error { _, err := a.Verify(ctx); return err }},
	{"recover", func(a *dsa.Area, _ []dsa.Pointer) error { _, err := a.Recover(ctx); return err }},
	{"stats", func(a *dsa.Area, _ []dsa.Pointer) error { _, err := a.Stats(ctx); return err }},
	{"dump", func(a *dsa.Area, _ []dsa.Pointer) error { return a.Dump(ctx, io.Discard) }},
	{"pin", func(a *dsa.Area, _ []dsa.Pointer) error { return errors.Join(a.Pin(ctx), a.Unpin(ctx)) }},
	{"limit", func(a *dsa.Area, _ []dsa.Pointer) error { return a.SetLimit(ctx, 1<<30) }},
	{"detach", func(a *dsa.Area, _ []dsa.Pointer) error { return a.Detach() }},
	{"read", func(a *dsa.Area, ps []dsa.Pointer) error {
		_, _, _, _ = a.Total(), a.Returned(), a.Self(), a.Handle()
		_ = a.Peek(ps[0])
		return a.Current()
	}},
}

// stage is an area with objects of two sessions, the second of which will end. Others of the same area
// have died with what they had in hand.
type stage struct {
	memory *swaptest.Memory
	other  *dsa.Area
	closes *swaptest.Session
	area   *dsa.Area
	ps     []dsa.Pointer
}

func newStage(t *testing.T) (s stage) {
	t.Helper()
	s.memory = swaptest.New(t)
	first := s.memory.Session(1)
	s.closes = s.memory.Session(2)
	var err error
	s.other, err = dsa.Create(ctx, first, first.Self(), dsa.Options{Initial: 1, MaxSegment: 256 << 10, Sessions: 8, Keep: -1})
	if err != nil {
		t.Fatal(err)
	}
	if s.area, err = dsa.Attach(ctx, s.closes, s.closes.Self(), s.other.Handle()); err != nil {
		t.Fatal(err)
	}
	dsa.OwnSpans(s.other)
	dsa.OwnSpans(s.area)
	for i, n := range []int{40, 3000, 3000, 30_000, 150_000, 40, 3000, 30_000, 150_000} {
		from := s.area
		if i < 5 {
			from = s.other
		}
		s.ps = append(s.ps, alloc(t, from, n))
	}
	for range 25 { // a full span of the other's
		s.ps = append(s.ps, alloc(t, s.other, 2600))
	}
	dead := s.memory.Session(3)
	a := attachTo(t, dead, s.other.Handle())
	alloc(t, a, 500)
	dead.End()
	dead.Swap()
	return s
}

func attachTo(t *testing.T, s *swaptest.Session, handle uint64) *dsa.Area {
	t.Helper()
	a, err := dsa.Attach(ctx, s, s.Self(), handle)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// after: all calls that have an error return ErrClosed.
func after(t *testing.T, a *dsa.Area, ps []dsa.Pointer) {
	t.Helper()
	for _, use := range uses {
		err := use.call(a, ps)
		if use.name == "detach" {
			continue
		}
		if !errors.Is(err, dsa.ErrClosed) {
			t.Errorf("%s after the end: %v", use.name, err)
		}
	}
	if a.Total() != 0 {
		t.Error("Total after the end")
	}
}

// TestEndBesideUse: four goroutines use an area while it is detached, or its session is closed: they hear ErrClosed, and
// the others find the area in order.
func TestEndBesideUse(t *testing.T) {
	rounds := 40
	if testing.Short() {
		rounds = 5
	}
	for _, how := range []string{"close", "detach"} {
		t.Run(how, func(t *testing.T) {
			for round := range rounds {
				s := newStage(t)
				var users sync.WaitGroup
				for g := range 4 {
					users.Go(func() {
						for n := g + round; ; n++ {
							use := uses[n%len(uses)]
							if use.name == "detach" || use.name == "free" {
								continue
							}
							err := use.call(s.area, s.ps)
							if errors.Is(err, dsa.ErrClosed) {
								return
							}
							if err != nil {
								t.Errorf("%s: %v", use.name, err)
								return
							}
						}
					})
				}
				for range round * 50 {
					runtime.Gosched()
				}
				var err error
				if how == "close" {
					err = s.closes.Close()
				} else {
					err = s.area.Detach()
				}
				users.Wait()
				after(t, s.area, s.ps)
				clean(t, s.other)
				if err := errors.Join(err, s.closes.Close(), s.other.Unpin(ctx), s.other.Detach()); err != nil {
					t.Error(err)
				}
				if n := s.memory.Segments(); n != 0 {
					t.Errorf("%d segments are left", n)
				}
			}
		})
	}
}

// TestBytesHeldOverEnd: what is stored into an object after the end reaches nothing that another session sees.
func TestBytesHeldOverEnd(t *testing.T) {
	s := newStage(t)
	b, err := s.area.Bytes(s.ps[5])
	if err != nil {
		t.Fatal(err)
	}
	there, err := s.other.Bytes(s.ps[5])
	if err != nil {
		t.Fatal(err)
	}
	b[0] = 1
	if err := s.area.Detach(); err != nil {
		t.Error(err)
	}
	if b[0] = 2; there[0] != 1 {
		t.Errorf("%d is there", there[0])
	}
	if err := errors.Join(s.closes.Close(), s.other.Detach()); err != nil {
		t.Error(err)
	}
}
