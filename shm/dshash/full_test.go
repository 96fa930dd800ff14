package dshash_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/godsm/godsm/shm/dsa"
	"github.com/godsm/godsm/shm/dshash"
)

// exhaust takes all the memory that an area has, within the limit that it has come to, until give is called.
func exhaust(t testing.TB, a *dsa.Area) (give func()) {
	t.Helper()
	must(t, a.SetLimit(ctx, a.Total()))
	var taken []dsa.Pointer
	for n := 1 << 20; n > 0; n = min(n*15/16, n-1) {
		for {
			p, err := a.Alloc(n)
			if err != nil {
				break
			}
			taken = append(taken, p)
		}
	}
	return func() {
		t.Helper()
		for _, p := range taken {
			must(t, a.Free(p))
		}
		must(t, a.SetLimit(ctx, 1<<40))
	}
}

// TestUpdateInFullArea: where no memory is left, each entry of each table takes another value of the same length, and a
// shorter one, whichever way it comes; and each can be deleted.
func TestUpdateInFullArea(t *testing.T) {
	a := heap(t, dsa.Options{Initial: 64 << 10, Sessions: 4})
	word, err := dshash.Create[uint64, uint64](a, dshash.Options{Partitions: 4})
	must(t, err)
	small, err := dshash.Create[uint32, uint16](a, dshash.Options{Partitions: 1})
	must(t, err)
	set, err := dshash.Create[uint64, struct{}](a, dshash.Options{Partitions: 2})
	must(t, err)
	long, err := dshash.Create[uint64, [300]uint64](a, dshash.Options{Partitions: 8})
	must(t, err)
	bs, err := dshash.CreateBytes(a, dshash.Options{Partitions: 4})
	must(t, err)
	const n = 100
	value := func(k, turn uint64) []byte { // of one length for each k
		return bytes.Repeat([]byte{byte(k + turn)}, 1+int(k*k%7000))
	}
	for k := range uint64(n) {
		must(t, word.Set(ctx, k, k))
		must(t, small.Set(ctx, uint32(k), uint16(k)))
		must(t, set.Set(ctx, k, struct{}{}))
		must(t, long.Set(ctx, k, [300]uint64{k, 299: k}))
		must(t, bs.Set(ctx, name(k), value(k, 0)))
	}
	give := exhaust(t, a)
	if err := bs.Set(ctx, name(n), value(99, 0)); !errors.Is(err, dsa.ErrLimit) && !errors.Is(err, dsa.ErrFull) {
		t.Errorf("a new entry in a full area: %v", err)
	}
	short := func(k uint64) []byte { return []byte("short")[:min(5, len(value(k, 0)))] }
	is := func(k, turn uint64) {
		t.Helper()
		if v, found, err := word.Get(ctx, k); v != k+turn || !found || err != nil {
			t.Errorf("word %d: %v, %v, %v", k, v, found, err)
		}
		if v, found, err := small.Get(ctx, uint32(k)); v != uint16(k+turn) || !found || err != nil {
			t.Errorf("small %d: %v, %v, %v", k, v, found, err)
		}
		if v, found, err := long.Get(ctx, k); v != [300]uint64{k + turn, 299: k + turn} || !found || err != nil {
			t.Errorf("long %d: %v, %v, %v", k, v, found, err)
		}
		want := value(k, turn)
		if turn == 3 {
			want = short(k)
		}
		if v, found, err := bs.Get(ctx, name(k), nil); !bytes.Equal(v, want) || !found || err != nil {
			t.Errorf("bytes %d: %d of them, %v, %v", k, len(v), found, err)
		}
	}
	for k := range uint64(n) {
		must(t, word.Set(ctx, k, k+1))
		must(t, small.Set(ctx, uint32(k), uint16(k+1)))
		must(t, set.Set(ctx, k, struct{}{}))
		must(t, long.Set(ctx, k, [300]uint64{k + 1, 299: k + 1}))
		must(t, bs.Set(ctx, name(k), value(k, 1)))
		is(k, 1)
		e1, _, err := word.FindExclusive(ctx, k)
		must(t, err)
		v1, err := e1.Update()
		must(t, err)
		e2, _, err := small.Insert(ctx, uint32(k))
		must(t, err)
		v2, err := e2.Update()
		must(t, err)
		e3, _, err := long.FindExclusive(ctx, k)
		must(t, err)
		v3, err := e3.Update()
		must(t, err)
		e4, _, err := bs.FindExclusive(ctx, name(k))
		must(t, err)
		v4, err := e4.Update(len(value(k, 2)))
		must(t, err)
		if *v1 != k+1 || *v2 != uint16(k+1) || *v3 != [300]uint64{k + 1, 299: k + 1} || !bytes.Equal(v4, value(k, 1)) {
			t.Errorf("%d: an Update begins with another value", k)
		}
		*v1, *v2, *v3 = k+2, uint16(k+2), [300]uint64{k + 2, 299: k + 2}
		copy(v4, value(k, 2))
		if *e1.Value() != k+2 || !bytes.Equal(e4.Value(), value(k, 2)) {
			t.Errorf("%d: its holder does not see what it writes", k)
		}
		e1.Release()
		e2.Release()
		e3.Release()
		e4.Release()
		is(k, 2)
	}
	for k := range uint64(n) {
		must(t, word.Set(ctx, k, k+3))
		must(t, small.Set(ctx, uint32(k), uint16(k+3)))
		must(t, long.Set(ctx, k, [300]uint64{k + 3, 299: k + 3}))
		must(t, bs.Set(ctx, name(k), short(k)))
		is(k, 3)
		must(t, bs.Set(ctx, name(k), value(k, 2))) // as long as its object
		must(t, bs.Set(ctx, name(k), short(k)))
	}
	for e, err := range long.Scan(ctx, true) {
		must(t, err)
		v, err := e.Update()
		must(t, err)
		v[1] = 1
	}
	for k := range uint64(n) {
		if v, _, err := long.Get(ctx, k); v[1] != 1 || v[0] != k+3 || err != nil {
			t.Errorf("%d: %v, %v", k, v[:2], err)
		}
		for _, del := range []func() (bool, error){
			func() (bool, error) { return word.Delete(ctx, k) },
			func() (bool, error) { return small.Delete(ctx, uint32(k)) },
			func() (bool, error) { return set.Delete(ctx, k) },
			func() (bool, error) { return long.Delete(ctx, k) },
			func() (bool, error) { return bs.Delete(ctx, name(k)) },
		} {
			if found, err := del(); !found || err != nil {
				t.Errorf("%d: Delete: %v, %v", k, found, err)
			}
		}
	}
	give()
	clean(t, a, 0, word, small, set, long, bs)
	must(t, bs.Set(ctx, name(1), value(99, 0)))
	must(t, word.Destroy(ctx))
	must(t, small.Destroy(ctx))
	must(t, set.Destroy(ctx))
	must(t, long.Destroy(ctx))
	must(t, bs.Destroy(ctx))
	clean(t, a, 0)
}

// TestReserveGrows: before a longer item is linked there is a reserve for it; if there is no memory for one, the item is
// not linked.
func TestReserveGrows(t *testing.T) {
	a := heap(t, dsa.Options{Initial: 64 << 10, Sessions: 4})
	bs, err := dshash.CreateBytes(a, dshash.Options{Partitions: 1})
	must(t, err)
	other, err := dshash.AttachBytes(a, bs.Handle(), dshash.Options{}) // which has to learn how long it is
	must(t, err)
	for n := 1; n < 200_000; n = n*5/4 + 1 {
		must(t, bs.Set(ctx, name(uint64(n)), make([]byte, n)))
		must(t, other.Set(ctx, name(uint64(n)), make([]byte, n)))
		clean(t, a, 0, bs)
	}
	give := exhaust(t, a)
	if err := other.Set(ctx, name(1), make([]byte, 300_000)); !errors.Is(err, dsa.ErrLimit) && !errors.Is(err, dsa.ErrFull) {
		t.Errorf("a longer item than ever: %v", err)
	}
	for n := 1; n < 200_000; n = n*5/4 + 1 {
		must(t, other.Set(ctx, name(uint64(n)), bytes.Repeat([]byte{7}, n)))
	}
	give()
	must(t, bs.Destroy(ctx))
	clean(t, a, 0)
}
