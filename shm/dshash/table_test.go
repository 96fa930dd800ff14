package dshash_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/godsm/godsm/internal/testing/proctest"
	"github.com/godsm/godsm/shm/dsa"
	"github.com/godsm/godsm/shm/dshash"
	"github.com/godsm/godsm/shm/shmsync"
)

var ctx = context.Background()

func TestMain(m *testing.M) { proctest.Main(m) }

func self(row int) shmsync.Self {
	return shmsync.Self{Peer: shmsync.Peer{Row: row, Incarnation: 1}, Alive: func(shmsync.Peer) bool { return true }}
}

// heap is an area of ordinary memory.
func heap(t testing.TB, o dsa.Options) *dsa.Area {
	t.Helper()
	a, err := dsa.Create(ctx, &dsa.Heap{}, self(1), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Detach(); err != nil {
			t.Error(err)
		}
	})
	return a
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

type verifier interface {
	Verify(context.Context) (dshash.Report, error)
}

// clean verifies tables, and that the area has their objects, others beside them, and no more.
func clean(t testing.TB, a *dsa.Area, others int, tables ...verifier) (entries int) {
	t.Helper()
	for _, v := range tables {
		rep, err := v.Verify(ctx)
		must(t, err)
		for _, p := range rep.Problems {
			t.Error(p)
		}
		if rep.Lost != 0 {
			t.Errorf("%d lost", rep.Lost)
		}
		others += rep.Objects
		entries += rep.Entries
	}
	rep, err := a.Verify(ctx)
	must(t, err)
	for _, p := range rep.Problems {
		t.Error(p)
	}
	if rep.Objects != others {
		t.Errorf("the area has %d objects, and %d are known of", rep.Objects, others)
	}
	return entries
}

func TestOneOfEach(t *testing.T) {
	a := heap(t, dsa.Options{})
	tab, err := dshash.Create[uint64, [3]uint16](a, dshash.Options{})
	must(t, err)
	if _, found, err := tab.Get(ctx, 7); found || err != nil {
		t.Error(found, err)
	}
	must(t, tab.Set(ctx, 7, [3]uint16{1, 2, 3}))
	must(t, tab.Set(ctx, 7, [3]uint16{4, 5, 6}))
	if v, found, err := tab.Get(ctx, 7); v != [3]uint16{4, 5, 6} || !found || err != nil {
		t.Error(v, found, err)
	}
	e, found, err := tab.Find(ctx, 7)
	if err != nil || !found || e.Key() != 7 || *e.Value() != [3]uint16{4, 5, 6} {
		t.Error(found, err)
	}
	if _, err := e.Update(); err == nil {
		t.Error("a shared entry is to be changed")
	}
	e.Release()
	e.Release()
	e, found, err = tab.FindExclusive(ctx, 7)
	if !found || err != nil {
		t.Fatal(found, err)
	}
	v, err := e.Update()
	must(t, err)
	v[0] = 9
	if was := *e.Value(); was != [3]uint16{9, 5, 6} {
		t.Error(was)
	}
	during := make(chan [3]uint16)
	go func() { // it takes no lock, but under the race detector
		got, _, _ := tab.Get(ctx, 7)
		during <- got
	}()
	if dshash.Lockless {
		if got := <-during; got != [3]uint16{4, 5, 6} {
			t.Errorf("read before Release: %v", got)
		}
	}
	e.Release()
	if !dshash.Lockless {
		<-during
	}
	if _, err := e.Update(); !errors.Is(err, dshash.ErrShared) {
		t.Errorf("released, and updated: %v", err)
	}
	if err := e.Delete(); !errors.Is(err, dshash.ErrShared) {
		t.Errorf("released, and deleted: %v", err)
	}
	if got, _, _ := tab.Get(ctx, 7); got != [3]uint16{9, 5, 6} {
		t.Error(got)
	}
	e, found, err = tab.Insert(ctx, 8)
	must(t, err)
	if found || e.Key() != 8 || *e.Value() != [3]uint16{} {
		t.Error("inserted", found)
	}
	e.Release()
	other, err := dshash.Attach[uint64, [3]uint16](a, tab.Handle(), dshash.Options{})
	must(t, err)
	if n := other.Len(); n != 2 {
		t.Error(n)
	}
	if n := clean(t, a, 0, tab); n != 2 {
		t.Error(n)
	}
	if found, err := other.Delete(ctx, 7); !found || err != nil {
		t.Error(found, err)
	}
	clean(t, a, 0, tab)
	must(t, tab.Dump(ctx, io.Discard))
	must(t, tab.Destroy(ctx))
	clean(t, a, 0)
}

// TestModel does at random what a map does beside it.
func TestModel(t *testing.T) {
	for _, parts := range []int{1, 128} {
		t.Run(fmt.Sprint(parts), func(t *testing.T) {
			a := heap(t, dsa.Options{})
			tab, err := dshash.Create[uint64, uint64](a, dshash.Options{Partitions: parts})
			must(t, err)
			bs, err := dshash.CreateBytes(a, dshash.Options{Partitions: parts})
			must(t, err)
			model := map[uint64]uint64{}
			rnd := rand.New(rand.NewPCG(1, 2))
			text := func(k, v uint64) (key, value []byte) {
				return fmt.Appendf(nil, "%0*d", int(k%40), k), fmt.Appendf(nil, "%0*d", int(v%300), v)
			}
			width := uint64(10)
			for i := range 60_000 {
				if i%10_000 == 0 {
					width = 1 << rnd.IntN(15)
				}
				k, v := rnd.Uint64N(width), rnd.Uint64()
				key, value := text(k, v)
				old, there := model[k]
				_, oldValue := text(k, old)
				switch rnd.IntN(8) {
				case 0, 1:
					must(t, tab.Set(ctx, k, v))
					must(t, bs.Set(ctx, key, value))
					model[k] = v
				case 2, 3:
					found, err := tab.Delete(ctx, k)
					if found != there || err != nil {
						t.Fatal(found, err)
					}
					if found, err := bs.Delete(ctx, key); found != there || err != nil {
						t.Fatal(found, err)
					}
					delete(model, k)
				case 4:
					e, found, err := tab.Insert(ctx, k)
					if err != nil || found != there || *e.Value() != old {
						t.Fatal(found, err, *e.Value(), old)
					}
					to, err := e.Update()
					must(t, err)
					*to = v
					b, found, err := bs.Insert(ctx, key, 3)
					if err != nil || found != there || found && string(b.Value()) != string(oldValue) ||
						!found && string(b.Value()) != "\x00\x00\x00" {
						t.Fatalf("%v %v %q", found, err, b.Value())
					}
					if rnd.IntN(4) == 0 {
						must(t, e.Delete())
						must(t, b.Delete())
						delete(model, k)
						break
					}
					bv, err := b.Update(len(value))
					must(t, err)
					copy(bv, value)
					e.Release()
					b.Release()
					model[k] = v
				case 5:
					e, found, err := tab.FindExclusive(ctx, k)
					if err != nil || found != there {
						t.Fatal(found, err)
					}
					b, _, err := bs.FindExclusive(ctx, key)
					must(t, err)
					if !found {
						break
					}
					if rnd.IntN(2) == 0 {
						to, err := e.Update()
						must(t, err)
						*to = v
						_, err = b.Update(len(value) + 1)
						must(t, err)
						bv, err := b.Update(len(value))
						must(t, err)
						copy(bv, value)
						model[k] = v
					}
					e.Release()
					b.Release()
				default:
					got, found, err := tab.Get(ctx, k)
					if found != there || err != nil || got != old {
						t.Fatal(k, got, old, found, err)
					}
					text, found, err := bs.Get(ctx, key, []byte("x"))
					if found != there || err != nil || found && string(text) != "x"+string(oldValue) {
						t.Fatal(string(text), found, err)
					}
				}
			}
			if n := clean(t, a, 0, tab, bs); n != 2*len(model) || tab.Len() != len(model) {
				t.Errorf("%d entries, %d, not %d", n, tab.Len(), len(model))
			}
			for e, err := range tab.Scan(ctx, true) {
				must(t, err)
				if v, there := model[e.Key()]; !there || *e.Value() != v {
					t.Fatal("scan")
				}
				delete(model, e.Key())
				must(t, e.Delete())
			}
			if n := tab.Len(); len(model) != 0 || n != 0 {
				t.Error(len(model), n)
			}
			clean(t, a, 0, tab, bs)
			must(t, bs.Destroy(ctx))
			clean(t, a, 0, tab)
		})
	}
}

// TestCreateInto: the word owns the table, and reads 0 if there is none.
func TestCreateInto(t *testing.T) {
	a := heap(t, dsa.Options{Limit: 2 << 20})
	p, err := a.AllocZeroed(16)
	must(t, err)
	at, err := a.Place(p, 8)
	must(t, err)
	tab, err := dshash.CreateInto[uint64, uint64](a, at, dshash.Options{Partitions: 1 << 14})
	if !errors.Is(err, dsa.ErrLimit) || at.Pointer() != 0 {
		t.Errorf("CreateInto beyond the limit = %v, %v; the word reads %v", tab, err, at.Pointer())
	}
	b, err := dshash.CreateBytesInto(a, at, dshash.Options{Partitions: 2})
	must(t, err)
	if at.Pointer() != b.Handle() {
		t.Errorf("the word reads %v, not %v", at.Pointer(), b.Handle())
	}
	must(t, b.Set(ctx, []byte("key"), []byte("value")))
	clean(t, a, 1, b)
	must(t, b.Destroy(ctx))
	at.Clear()
	clean(t, a, 1)
}
