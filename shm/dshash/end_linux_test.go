package dshash_test

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"testing"

	"github.com/godsm/godsm/internal/testing/swaptest"
	"github.com/godsm/godsm/shm/dsa"
	"github.com/godsm/godsm/shm/dshash"
)

// uses are the calls of tables in which their session ends. Those that make or destroy a table of their own are in
// uses of their own, since a death leaves that table to no process.
var uses = []struct {
	name string
	call func(w world, n uint64) error
}{
	{"get", func(w world, n uint64) error {
		v, found, err := w.tab.Get(ctx, n%40)
		if err == nil && (!found || v.check() != nil) {
			err = fmt.Errorf("%v, %v", found, v.check())
		}
		return err
	}},
	{"bytes get", func(w world, n uint64) error {
		b, found, err := w.bs.Get(ctx, name(n%40), nil)
		if err == nil && (!found || checkText(b) != nil) {
			err = fmt.Errorf("%v, %v", found, checkText(b))
		}
		return err
	}},
	{"find", func(w world, n uint64) error {
		e, found, err := w.tab.Find(ctx, n%40)
		if err != nil {
			return err
		}
		defer e.Release()
		if k, v := e.Key(), e.Value(); !w.over() && (!found || k != n%40 || v.check() != nil) {
			return w.unlessOver(fmt.Errorf("%v, %d, %v", found, k, v.check()))
		}
		return nil
	}},
	{"bytes find", func(w world, n uint64) error {
		e, found, err := w.bs.FindExclusive(ctx, name(n%40))
		if err != nil {
			return err
		}
		defer e.Release()
		if k, v := e.Key(), e.Value(); !w.over() && (!found || string(k) != string(name(n%40)) || checkText(v) != nil) {
			return w.unlessOver(fmt.Errorf("%v, %s, %v", found, k, checkText(v)))
		}
		return nil
	}},
	{"set", func(w world, n uint64) error { return w.tab.Set(ctx, n%40, seal(n)) }},
	{"bytes set", func(w world, n uint64) error { return w.bs.Set(ctx, name(n%40), text(n)) }},
	{"many", func(w world, n uint64) error {
		for k := range uint64(40) {
			if err := w.tab.Set(ctx, 100+n%5*40+k, seal(n)); err != nil {
				return err
			}
		}
		for k := range uint64(40) {
			if _, err := w.tab.Delete(ctx, 100+n%5*40+k); err != nil {
				return err
			}
		}
		return nil
	}},
	{"insert", func(w world, n uint64) error {
		e, _, err := w.tab.Insert(ctx, 50+n%20)
		if err != nil {
			return err
		}
		defer e.Release()
		v, err := e.Update()
		if err != nil {
			return err
		}
		*v = seal(n)
		return nil
	}},
	{"bytes insert", func(w world, n uint64) error {
		e, _, err := w.bs.Insert(ctx, name(50+n%20), 3)
		if err != nil {
			return err
		}
		defer e.Release()
		for _, n := range []uint64{n, n + 77} {
			t := text(n)
			b, err := e.Update(len(t))
			if err != nil {
				return err
			}
			copy(b, t)
		}
		return nil
	}},
	{"delete", func(w world, n uint64) error { _, err := w.tab.Delete(ctx, 50+n%20); return err }},
	{"entry delete", func(w world, n uint64) error {
		e, found, err := w.bs.FindExclusive(ctx, name(50+n%20))
		if !found || err != nil {
			return err
		}
		return e.Delete()
	}},
	{"scan", func(w world, n uint64) error {
		for e, err := range w.tab.Scan(ctx, false) {
			if err != nil {
				return err
			}
			if err := e.Value().check(); err != nil && !w.over() && e.Key() < 40 {
				return w.unlessOver(err)
			}
		}
		return nil
	}},
	{"scan exclusively", func(w world, n uint64) error {
		for e, err := range w.bs.Scan(ctx, true) {
			if err != nil {
				return err
			}
			if k := e.Key(); len(k) > 50 {
				if err := e.Delete(); err != nil {
					return err
				}
			}
		}
		return nil
	}},
	{"verify", func(w world, n uint64) error { _, err := w.tab.Verify(ctx); return err }},
	{"verify at", func(w world, n uint64) error { _, err := dshash.VerifyAt(ctx, w.area, w.bs.Handle()); return err }},
	{"len", func(w world, n uint64) error {
		if w.tab.Len() == 0 {
			return dshash.ErrClosed
		}
		return nil
	}},
	{"dump", func(w world, n uint64) error { return w.bs.Dump(ctx, io.Discard) }},
	{"attach", func(w world, n uint64) error {
		_, err := dshash.Attach[uint64, sealed](w.area, w.tab.Handle(), dshash.Options{})
		return err
	}},
}

// own are the uses that make tables.
var own = []struct {
	name string
	call func(w world, n uint64) error
}{
	{"create", func(w world, n uint64) error {
		t, err := dshash.CreateBytes(w.area, dshash.Options{Partitions: 2})
		if err != nil {
			return err
		}
		for k := range uint64(8) {
			if err := t.Set(ctx, name(k), text(k)); err != nil {
				return err
			}
		}
		return t.Destroy(ctx)
	}},
}

func (w world) over() bool { return w.area.View().Ended() }

// unlessOver is err, which was made of what a session found that has not ended.
func (w world) unlessOver(err error) error {
	if w.over() {
		return nil
	}
	return err
}

// stage is two sessions with the same two tables, the second of which will end.
type stage struct {
	memory *swaptest.Memory
	closes *swaptest.Session
	first  world
	second world
}

func newStage(t testing.TB, partitions int) stage { return newStageOf(t, partitions, false) }

// newStageOf is newStage with a second session that may be checked: what ends there becomes inaccessible.
func newStageOf(t testing.TB, partitions int, checked bool) (s stage) {
	t.Helper()
	s.memory = swaptest.New(t)
	one := s.memory.Session(1)
	s.closes = s.memory.Session(2)
	s.closes.Checked = checked
	var err error
	o := dsa.Options{Initial: 1, MaxSegment: 256 << 10, Sessions: 8, Keep: -1}
	s.first.area, err = dsa.Create(ctx, one, one.Self(), o)
	must(t, err)
	s.first.tab, err = dshash.Create[uint64, sealed](s.first.area, dshash.Options{Partitions: partitions})
	must(t, err)
	s.first.bs, err = dshash.CreateBytes(s.first.area, dshash.Options{Partitions: partitions})
	must(t, err)
	for k := range uint64(60) {
		must(t, s.first.tab.Set(ctx, k, seal(k)))
		must(t, s.first.bs.Set(ctx, name(k), text(k)))
	}
	s.second = s.join(t, s.closes)
	return s
}

// join is the tables as another session sees them.
func (s stage) join(t testing.TB, session *swaptest.Session) (w world) {
	t.Helper()
	var err error
	w.area, err = dsa.Attach(ctx, session, session.Self(), s.first.area.Handle())
	must(t, err)
	w.tab, err = dshash.Attach[uint64, sealed](w.area, s.first.tab.Handle(), dshash.Options{})
	must(t, err)
	w.bs, err = dshash.AttachBytes(w.area, s.first.bs.Handle(), dshash.Options{})
	must(t, err)
	return w
}

// end looks whether the first session finds all in order, and all goes with it.
func (s stage) end(t testing.TB) {
	t.Helper()
	clean(t, s.first.area, 0, s.first.tab, s.first.bs)
	for k := range uint64(40) {
		if v, found, err := s.first.tab.Get(ctx, k); !found || err != nil || v.check() != nil {
			t.Errorf("%d: %v, %v, %v", k, found, err, v.check())
		}
		if b, found, err := s.first.bs.Get(ctx, name(k), nil); !found || err != nil || checkText(b) != nil {
			t.Errorf("%s: %v, %v, %v", name(k), found, err, checkText(b))
		}
	}
	must(t, s.closes.Close())
	s.first.end(t)
	if n := s.memory.Segments(); n != 0 {
		t.Errorf("%d segments are left", n)
	}
}

// refused: after the end each call returns ErrClosed.
func (w world) refused(t testing.TB) {
	t.Helper()
	for _, use := range append(uses, own...) {
		if err := use.call(w, 3); !errors.Is(err, dshash.ErrClosed) {
			t.Errorf("%s after the end: %v", use.name, err)
		}
	}
	if n := w.tab.Len() + w.bs.Len(); n != 0 {
		t.Errorf("Len after the end: %d", n)
	}
	if err := errors.Join(w.tab.Destroy(ctx)); !errors.Is(err, dshash.ErrClosed) {
		t.Errorf("Destroy after the end: %v", err)
	}
}

// TestEndBesideUse: four goroutines use tables while their area is detached, or the session closed.
func TestEndBesideUse(t *testing.T) {
	rounds := 60
	if testing.Short() {
		rounds = 6
	}
	for _, how := range []string{"close", "detach"} {
		t.Run(how, func(t *testing.T) {
			for round := range rounds {
				s := newStage(t, 2)
				var users sync.WaitGroup
				for g := range 4 {
					users.Go(func() {
						for n := uint64(g*5 + round); ; n++ {
							use := uses[n%uint64(len(uses))]
							err := use.call(s.second, n)
							if errors.Is(err, dshash.ErrClosed) {
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
				if how == "close" {
					must(t, s.closes.Close())
				} else {
					must(t, s.second.area.Detach())
				}
				users.Wait()
				s.second.refused(t)
				s.end(t)
			}
		})
	}
}

// TestEntryHeldOverDetach: an entry that is held while its area is detached, in a session that goes on, keeps
// the bytes until it is released; its lock is given back, and it changes nothing.
func TestEntryHeldOverDetach(t *testing.T) {
	for _, how := range []string{"shared", "exclusive", "inserted", "scanned"} {
		t.Run(how, func(t *testing.T) {
			s := newStage(t, 1)
			var e dshash.Entry[uint64, sealed]
			var err error
			switch how {
			case "shared":
				e, _, err = s.second.tab.Find(ctx, 7)
			case "exclusive":
				e, _, err = s.second.tab.FindExclusive(ctx, 7)
			case "inserted":
				e, _, err = s.second.tab.Insert(ctx, 77)
			}
			must(t, err)
			if how == "scanned" {
				for _, err := range s.second.tab.Scan(ctx, true) {
					if errors.Is(err, dshash.ErrClosed) {
						continue
					}
					must(t, err)
					must(t, s.second.area.Detach())
				}
			} else {
				if how != "shared" {
					v, err := e.Update()
					must(t, err)
					*v = seal(1000)
				}
				v := e.Value()
				must(t, s.second.area.Detach())
				if how != "inserted" {
					must(t, v.check())
				}
			}
			if n := s.memory.Segments(); n == 0 {
				t.Error("nothing is left")
			}
			if k, v := e.Key(), e.Value(); k != 0 || *v != (sealed{}) {
				t.Errorf("after the end it is %d, %v", k, v)
			}
			if _, err := e.Update(); how != "scanned" && !errors.Is(err, dshash.ErrClosed) && !errors.Is(err, dshash.ErrShared) {
				t.Errorf("Update after the end: %v", err)
			}
			e.Release()
			must(t, s.first.tab.Set(ctx, 7, seal(8))) // the lock is free
			if _, found, err := s.first.tab.Get(ctx, 77); found || err != nil {
				t.Errorf("it is there: %v, %v", found, err)
			}
			s.second.refused(t)
			s.end(t)
		})
	}
}

// TestEntryHeldOverClose: an entry that is held over the close of its session is none any more, and what is done with it
// reaches no other session.
func TestEntryHeldOverClose(t *testing.T) {
	s := newStage(t, 1)
	e, _, err := s.second.tab.FindExclusive(ctx, 7)
	must(t, err)
	v, err := e.Update()
	must(t, err)
	b, _, err := s.second.bs.Insert(ctx, name(88), 40)
	must(t, err)
	must(t, s.closes.Close())
	*v = seal(1000)
	if _, err := b.Update(100); !errors.Is(err, dshash.ErrClosed) {
		t.Errorf("Update after the end: %v", err)
	}
	if err := b.Delete(); !errors.Is(err, dshash.ErrClosed) {
		t.Errorf("Delete after the end: %v", err)
	}
	if k, v := b.Key(), b.Value(); len(k)+len(v) != 0 {
		t.Errorf("after the end it is %d and %d bytes", len(k), len(v))
	}
	e.Release()
	b.Release()
	if v, found, err := s.first.tab.Get(ctx, 7); v != seal(7) || !found || err != nil {
		t.Errorf("%v, %v, %v", v, found, err)
	}
	s.second.refused(t)
	s.end(t)
}
