package roster_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/godsm/godsm/shm/dsa"
	"github.com/godsm/godsm/shm/roster"
	"github.com/godsm/godsm/shm/shmsync"
)

type seat struct{ N atomic.Uint64 }

type record struct{ What, More atomic.Uint64 }

func self(row int, incarnation uint32) shmsync.Self {
	return shmsync.Self{Peer: shmsync.Peer{Row: row, Incarnation: incarnation}, Alive: func(shmsync.Peer) bool { return true }}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestRecordsOutliveTheirSession: another session finds the records of one that has died, and the next one in the row
// finds them cleared.
func TestRecordsOutliveTheirSession(t *testing.T) {
	var heap dsa.Heap
	a, err := dsa.Create(context.Background(), &heap, self(3, 1), dsa.Options{Sessions: 8})
	must(t, err)
	r, err := roster.Create[seat, record](a)
	must(t, err)
	s, err := r.Join(func(shmsync.Peer) error { return errors.New("nobody was here") })
	must(t, err)
	s.N.Store(7)
	var refs []roster.Ref
	for i := range 1000 {
		ref, rec, err := r.Take()
		must(t, err)
		if ref.Row() != 3 || rec.What.Load() != 0 {
			t.Fatal(ref.Row(), rec.What.Load())
		}
		rec.What.Store(uint64(i + 1))
		refs = append(refs, ref)
	}
	if r.InUse() != 1000 {
		t.Error(r.InUse())
	}

	b, err := dsa.Attach(context.Background(), &heap, self(4, 1), a.Handle())
	must(t, err)
	other, err := roster.Attach[seat, record](b, r.Handle())
	must(t, err)
	for i, ref := range refs {
		rec, err := other.At(ref)
		must(t, err)
		if rec.What.Load() != uint64(i+1) {
			t.Fatalf("record %d holds %d", i, rec.What.Load())
		}
	}
	who, own, ok := other.Seat(3)
	if !ok || who != (shmsync.Peer{Row: 3, Incarnation: 1}) || own.N.Load() != 7 {
		t.Error(who, ok)
	}
	n := 0
	for _, rec := range other.Each(3) {
		if rec.What.Load() != 0 {
			n++
		}
	}
	if n != 1000 {
		t.Errorf("%d records", n)
	}
	for _, ref := range []roster.Ref{0, 1, roster.RefOf(3, 1<<20), roster.RefOf(5, 0), ^roster.Ref(0)} {
		if _, err := other.At(ref); !errors.Is(err, roster.ErrCorrupt) {
			t.Errorf("%#x: %v", uint32(ref), err)
		}
	}

	c, err := dsa.Attach(context.Background(), &heap, self(3, 2), a.Handle())
	must(t, err)
	next, err := roster.Attach[seat, record](c, r.Handle())
	must(t, err)
	failed := errors.New("the sweep failed")
	if _, err := next.Join(func(shmsync.Peer) error { return failed }); !errors.Is(err, failed) {
		t.Error(err)
	}
	var swept shmsync.Peer
	s, err = next.Join(func(dead shmsync.Peer) error { swept = dead; return nil })
	must(t, err)
	if swept != who || s.N.Load() != 0 || next.InUse() != 0 {
		t.Error(swept, s.N.Load())
	}
	for ref, rec := range other.Each(3) {
		if rec.What.Load() != 0 {
			t.Fatalf("record %d was not cleared", ref.Index())
		}
	}
	before := next.Owned()
	for range 1000 {
		_, _, err := next.Take()
		must(t, err)
	}
	if next.Owned() != before {
		t.Error("the pages of the row were not used again")
	}
	next.Leave()
	if _, _, ok := other.Seat(3); ok {
		t.Error("the seat was left, and is taken")
	}
	if _, err := roster.Attach[record, record](b, r.Handle()); !errors.Is(err, roster.ErrMismatch) {
		t.Error(err)
	}
}

func TestTakeAndGiveBesideEachOther(t *testing.T) {
	a, err := dsa.Create(context.Background(), new(dsa.Heap), self(0, 1), dsa.Options{})
	must(t, err)
	r, err := roster.Create[seat, record](a)
	must(t, err)
	_, err = r.Join(nil)
	must(t, err)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for range 500 {
				ref, rec, err := r.Take()
				if err != nil {
					t.Error(err)
					return
				}
				if !rec.What.CompareAndSwap(0, uint64(g+1)) {
					t.Error("one record for two")
				}
				rec.What.Store(0)
				r.Give(ref)
			}
		})
	}
	wg.Wait()
	if r.InUse() != 0 {
		t.Error(r.InUse())
	}
}
