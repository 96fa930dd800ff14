package toc_test

import (
	"encoding/binary"
	"errors"
	"math"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/toc"
)

const magic = 0x746f63

// onHeap is n bytes that are aligned as mapped ones are; a slice on the stack need not be.
func onHeap(n int) shm.Region {
	escaped = make([]byte, n+64)
	r, _ := shm.NewRegion(escaped).Sub(0, n)
	return r
}

var escaped []byte

func create(t testing.TB, n int) (shm.Region, *toc.Toc) {
	t.Helper()
	r := onHeap(n)
	c, err := toc.Create(r, magic)
	if err != nil {
		t.Fatal(err)
	}
	return r, c
}

func TestEstimateIsEnough(t *testing.T) {
	for _, c := range []struct {
		chunks []int
		keys   int
	}{
		{nil, 0}, {nil, 1}, {[]int{1}, 1}, {[]int{0}, 1}, {[]int{63, 64, 65}, 3},
		{[]int{10000, 1, 1, 1}, 40}, {nil, 100},
	} {
		var e toc.Estimator
		e.Keys(c.keys)
		for _, n := range c.chunks {
			e.Chunk(n)
		}
		size, err := e.Size()
		if err != nil {
			t.Fatal(err)
		}
		_, table := create(t, size)
		off := shm.Offset(size)
		for _, n := range c.chunks {
			if off, err = table.Allocate(n); err != nil {
				t.Errorf("%+v: chunk of %d: %v", c, n, err)
			}
			if off%toc.Align != 0 {
				t.Errorf("%+v: offset %d", c, off)
			}
		}
		for k := range c.keys {
			if err := table.Insert(uint64(k), off, 0); err != nil {
				t.Errorf("%+v: key %d: %v", c, k, err)
			}
		}
		if left, err := table.Free(); left >= toc.Align || err != nil {
			t.Errorf("%+v: %d bytes left, %v", c, left, err)
		}
		if _, err := table.Allocate(1); !errors.Is(err, toc.ErrFull) {
			t.Errorf("%+v: one more byte = %v", c, err)
		}
	}
	for name, f := range map[string]func(*toc.Estimator){
		"chunk":    func(e *toc.Estimator) { e.Chunk(-1) },
		"chunks":   func(e *toc.Estimator) { e.Chunks(1<<30, 1<<30) },
		"sum":      func(e *toc.Estimator) { e.Chunks(1<<30, 192); e.Chunks(1<<30, 192) },
		"keys":     func(e *toc.Estimator) { e.Keys(-1) },
		"all keys": func(e *toc.Estimator) { e.Keys(1<<31 - 1); e.Keys(1<<31 - 1); e.Keys(2) },
	} {
		var e toc.Estimator
		f(&e)
		if n, err := e.Size(); !errors.Is(err, toc.ErrFull) {
			t.Errorf("%s: %d, %v", name, n, err)
		}
	}
}

func TestInsertAndLookup(t *testing.T) {
	r, c := create(t, 4096+13)
	if _, err := toc.Create(r, magic); !errors.Is(err, toc.ErrExists) {
		t.Errorf("Create over a table = %v", err)
	}
	if _, err := toc.Attach(r, magic+1); !errors.Is(err, toc.ErrMagic) {
		t.Errorf("Attach by another magic = %v", err)
	}
	if _, err := toc.Attach(onHeap(4096), magic); !errors.Is(err, toc.ErrMagic) {
		t.Errorf("Attach of nothing = %v", err)
	}
	for _, n := range []int{0, 23, 63} {
		if _, err := toc.Create(onHeap(n), magic); err == nil {
			t.Errorf("a table in %d bytes", n)
		}
	}
	if _, err := toc.Create(onHeap(64), 0); err == nil {
		t.Error("magic 0")
	}
	other, err := toc.Attach(r, magic)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Lookup(7); !errors.Is(err, toc.ErrNotFound) {
		t.Errorf("Lookup of nothing = %v", err)
	}
	for _, key := range []uint64{7, 0, 1<<64 - 1} {
		off, err := c.Allocate(100)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := r.Bytes(off, 100)
		binary.LittleEndian.PutUint64(b, ^key)
		if err := c.Insert(key, off, 100); err != nil {
			t.Fatal(err)
		}
		if err := other.Insert(key, off, 100); !errors.Is(err, toc.ErrExists) {
			t.Errorf("Insert of a key that is there = %v", err)
		}
		found, err := other.Lookup(key)
		if err != nil || found.Len() != 100 {
			t.Fatalf("%d bytes, %v", found.Len(), err)
		}
		if b, _ := found.Bytes(0, 8); binary.LittleEndian.Uint64(b) != ^key {
			t.Error("not what was stored")
		}
	}
	for _, at := range []struct {
		off shm.Offset
		n   int
	}{{0, 1}, {24, 8}, {1000, 8}, {4096 - 64, 65}, {4096, 1}, {4096 - 64, -1}, {1<<64 - 1, 2}} {
		if err := c.Insert(9, at.off, at.n); err == nil {
			t.Errorf("inserted %+v, which nobody has allocated", at)
		}
	}
	if _, err := c.Allocate(-1); err == nil {
		t.Error("allocated -1 bytes")
	}
}

func TestDirtyRegion(t *testing.T) {
	r := onHeap(256)
	b, _ := r.Bytes(40, 1)
	b[0] = 1 // where the first entry comes
	c, err := toc.Create(r, magic)
	if err != nil {
		t.Fatal(err)
	}
	off, _ := c.Allocate(1)
	if err := c.Insert(1, off, 1); !errors.Is(err, toc.ErrCorrupt) {
		t.Errorf("Insert = %v", err)
	}
}

type point struct{ X, Y atomic.Int64 }

func TestTyped(t *testing.T) {
	r, c := create(t, 4096)
	if _, err := toc.Put(c, 1, func(p *point) error { p.X.Store(7); return nil }); err != nil {
		t.Fatal(err)
	}
	if _, err := toc.PutSlice(c, 2, 10, func(s []int32) error { s[9] = 9; return nil }); err != nil {
		t.Fatal(err)
	}
	a, _ := toc.Attach(r, magic)
	if p, err := toc.Get[point](a, 1); err != nil || p.X.Load() != 7 {
		t.Errorf("%v", err)
	}
	if s, err := toc.GetSlice[int32](a, 2); err != nil || len(s) != 10 || s[9] != 9 {
		t.Errorf("%v, %v", s, err)
	}
	if _, err := toc.Get[int32](a, 2); !errors.Is(err, toc.ErrCorrupt) {
		t.Errorf("ten as one = %v", err)
	}
	if _, err := toc.Get[[3]int64](a, 1); !errors.Is(err, toc.ErrCorrupt) {
		t.Errorf("as another type = %v", err)
	}
	if _, err := toc.Get[point](a, 3); !errors.Is(err, toc.ErrNotFound) {
		t.Errorf("missing = %v", err)
	}
	if _, err := toc.Put[string](a, 3, nil); err == nil {
		t.Error("a string in shared memory")
	}
	if _, err := toc.Put[struct{}](a, 3, nil); err == nil {
		t.Error("nothing, inserted")
	}
	why := errors.New("why")
	if _, err := toc.Put(a, 3, func(*point) error { return why }); err != why {
		t.Errorf("Put = %v", err)
	}
	if _, err := toc.Get[point](a, 3); !errors.Is(err, toc.ErrNotFound) {
		t.Errorf("what could not be filled in was found: %v", err)
	}
	if _, err := toc.Put[point](a, 1, nil); !errors.Is(err, toc.ErrExists) {
		t.Errorf("Put twice = %v", err)
	}
	if _, err := toc.PutSlice[int64](a, 4, math.MaxInt/4, nil); err == nil {
		t.Error("more bytes than there are")
	}
}

// TestAtTheSameTime: all insert the same keys and some of their own; the process that finds one finds it
// whole, and in the end all find the same.
func TestAtTheSameTime(t *testing.T) {
	const keys, goroutines = 50, 8
	var e toc.Estimator
	e.Chunks(2*keys*goroutines, 16)
	e.Keys(2 * keys * goroutines)
	size, _ := e.Size()
	r, _ := create(t, size)
	fill := func(n int64) func(p *point) error {
		return func(p *point) error { p.X.Store(n); p.Y.Store(-n); return nil }
	}
	var wg sync.WaitGroup
	for g := range uint64(goroutines) {
		wg.Go(func() {
			c, err := toc.Attach(r, magic)
			if err != nil {
				t.Error(err)
				return
			}
			for k := range uint64(keys) {
				if _, err := toc.Put(c, k, fill(int64(g))); err != nil && !errors.Is(err, toc.ErrExists) {
					t.Error(err)
				}
				if p, err := toc.Get[point](c, k); err != nil || p.X.Load() != -p.Y.Load() {
					t.Errorf("key %d: %v", k, err)
				}
				if _, err := toc.Put(c, 1000*(g+1)+k, fill(int64(k))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	c, _ := toc.Attach(r, magic)
	for k := range uint64(keys) {
		if _, err := toc.Put[point](c, k, nil); !errors.Is(err, toc.ErrExists) {
			t.Errorf("key %d again: %v", k, err)
		}
		for g := range uint64(goroutines) {
			if p, err := toc.Get[point](c, 1000*(g+1)+k); err != nil || p.X.Load() != int64(k) {
				t.Errorf("key %d of %d: %v", k, g, err)
			}
		}
	}
}

// FuzzAttach: whatever bytes there are, the answer is a place in the region or an error.
func FuzzAttach(f *testing.F) {
	r := onHeap(512)
	c, _ := toc.Create(r, magic)
	_, _ = toc.Put[point](c, 1, nil)
	_, _ = toc.PutSlice[int32](c, 2, 5, nil)
	good, _ := r.Bytes(0, 512)
	f.Add(append([]byte(nil), good...))
	f.Add(append([]byte(nil), good[:64]...))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		r := onHeap(len(data))
		b, _ := r.Bytes(0, len(data))
		copy(b, data)
		if len(b) >= 8 {
			binary.NativeEndian.PutUint64(b, magic)
		}
		c, err := toc.Attach(r, magic)
		if err != nil {
			if !errors.Is(err, toc.ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		if n, err := c.Free(); err != nil || n < 0 || n > len(data) {
			t.Fatalf("%d bytes free of %d, %v", n, len(data), err)
		}
		for key := range uint64(4) {
			known(t, lookup(c, key))
			_, err := toc.Get[point](c, key)
			known(t, err)
			s, err := toc.GetSlice[int32](c, key)
			known(t, err)
			for i := range s {
				s[i]++
			}
		}
		off, err := c.Allocate(8)
		known(t, err)
		if err == nil {
			if _, err := r.Bytes(off, 8); err != nil {
				t.Fatal(err)
			}
			known(t, c.Insert(3, off, 8))
		}
	})
}

func lookup(c *toc.Toc, key uint64) error {
	r, err := c.Lookup(key)
	if err == nil {
		var b []byte
		b, err = r.Bytes(0, r.Len())
		clear(b)
	}
	return err
}

func known(t *testing.T, err error) {
	t.Helper()
	for _, kind := range []error{nil, toc.ErrCorrupt, toc.ErrNotFound, toc.ErrFull, toc.ErrExists} {
		if errors.Is(err, kind) {
			return
		}
	}
	t.Fatal(err)
}

func BenchmarkLookup(b *testing.B) {
	_, c := create(b, 1<<14)
	for k := range uint64(16) {
		if _, err := toc.Put[point](c, k, nil); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Lookup(15); err != nil {
			b.Fatal(err)
		}
	}
}
