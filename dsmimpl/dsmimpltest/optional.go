package dsmimpltest

import (
	"context"
	"errors"
	"os"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/godsm/godsm/dsmimpl"
	"github.com/google/uuid"
)

// What a backend may offer beside the contract. A test of what it lacks is skipped.

func testList(b *bench) {
	l, ok := b.Backend.(dsmimpl.Lister)
	if !ok {
		b.Skip("skipped: this backend can't list")
	}
	want := map[string]bool{}
	where := func(o dsmimpl.Object) string { return b.Backend.(dsmimpl.Locator).Locate(o) }
	for range 3 {
		o, m := b.create(b.object(100))
		b.detach(m)
		want[where(o)] = true
	}
	foreign := b.object(100)
	foreign.Life = uuid.New()
	foreign, m := b.create(foreign)
	b.detach(m)

	found, err := l.List(context.Background(), b.life, b.generation)
	if err != nil {
		b.Fatal(err)
	}
	for _, o := range found {
		if !dsmimpl.SameGeneration(o.Generation, b.generation) || o.Row() == 0 || o.Row() > 3 {
			b.Errorf("listed generation %d row %d, want one of the three made", o.Generation, o.Row())
		}
		b.destroy(o)
	}
	if len(found) != len(want) {
		b.Errorf("listed %d objects, want %d", len(found), len(want))
	}
	if found, err = l.List(context.Background(), b.life, b.generation); err != nil || len(found) != 0 {
		b.Errorf("after they were destroyed List = %v, %v", found, err)
	}
	b.detach(b.attach(foreign, dsmimpl.ReadWrite)) // still there
}

func testInUse(b *bench) {
	p, ok := b.Backend.(dsmimpl.Prober)
	if !ok {
		b.Skip("skipped: this backend can't tell what is in use")
	}
	ctx := context.Background()
	want := func(o dsmimpl.Object, what string, used bool) {
		b.Helper()
		got, err := p.InUse(ctx, o)
		if errors.Is(err, dsmimpl.ErrUnsupported) {
			b.Skipf("skipped: %v", err)
		}
		if err != nil || got != used {
			b.Errorf("%s: InUse = %v, %v, want %v", what, got, err, used)
		}
	}
	o, m := b.create(b.object(5000))
	o.Word = 0 // as of one that has not been written down
	want(o, "mapped by its creator", true)
	n := b.attach(o, dsmimpl.ReadOnly)
	b.detach(m)
	want(o, "mapped for reading", true)
	b.detach(n)
	if _, err := p.InUse(ctx, o); errors.Is(err, dsmimpl.ErrNotFound) {
		return // objects of this system go with the last mapping
	}
	want(o, "mapped by no process", false)
	want(o, "asked again", false)
	b.detach(b.attach(o, dsmimpl.ReadWrite)) // the question does not keep any process out
	b.destroy(o)
	if _, err := p.InUse(ctx, o); !errors.Is(err, dsmimpl.ErrNotFound) {
		b.Errorf("destroyed: InUse = %v, want ErrNotFound", err)
	}
}

func testGuard(b *bench) {
	g, ok := b.Backend.(dsmimpl.Guarder)
	if !ok {
		b.Skip("skipped: this backend can't guard")
	}
	size := 2 * os.Getpagesize()
	o, m := b.create(b.object(size))
	n := b.attach(o, dsmimpl.ReadWrite) // objects of some systems go with the last mapping
	if err := g.DetachGuarded(m); err != nil {
		b.Fatal(err)
	}
	p := b.attach(o, dsmimpl.ReadWrite)
	if !faults(func() { read(m.Bytes[0]) }) || !faults(func() { read(m.Bytes[size-1]) }) {
		b.Error("a slice kept past DetachGuarded did not fault")
	}
	if err := g.Unguard(m); err != nil {
		b.Error(err)
	}
	b.detach(n, p)
}

func testKeep(b *bench) {
	p, ok := b.Backend.(dsmimpl.Pinner)
	if !ok {
		b.Skip("skipped: objects of this backend need no process to keep them")
	}
	o, m := b.create(b.object(100))
	m.Bytes[0] = 'k'
	token, err := p.Keep(o)
	if err != nil {
		b.Fatal(err)
	}
	b.detach(m)
	n := b.attach(o, dsmimpl.ReadWrite)
	if n.Bytes[0] != 'k' {
		b.Error("the kept object lost its bytes")
	}
	b.detach(n)
	if err := p.Release(token); err != nil {
		b.Error(err)
	}
	b.wantGone(o)
}

// testSwap hammers a mapping from other goroutines while it is swapped, first in part and then as a whole: what comes late
// reaches no process, nothing faults, and the range is of use until Unswap.
func testSwap(b *bench) {
	s, ok := b.Backend.(dsmimpl.Swapper)
	if !ok {
		b.Skip("skipped: this backend can't swap")
	}
	page := os.Getpagesize()
	size := 4*page + 100
	o, m := b.create(b.object(size))
	n := b.attach(o, dsmimpl.ReadWrite)
	var stop atomic.Bool
	var wg sync.WaitGroup
	for k := range 2 {
		wg.Go(func() {
			for x := byte(0); !stop.Load(); x++ {
				for i := k; i < size; i += 61 {
					m.Bytes[i] = x
				}
			}
		})
	}
	swap := func(from, to int) {
		b.Helper()
		if err := s.Swap(m, from, to); err != nil {
			b.Error(err)
		}
		clear(n.Bytes[from:to])
		for range 1000 {
			if i := slices.IndexFunc(n.Bytes[from:to], func(x byte) bool { return x != 0 }); i >= 0 {
				b.Fatalf("byte %d was written after the swap", from+i)
			}
		}
	}
	swap(page, 3*page)
	swap(0, size)
	stop.Store(true)
	wg.Wait()
	n.Bytes[0], m.Bytes[0], m.Bytes[size-1] = 'r', 'p', 'p'
	if n.Bytes[0] != 'r' || n.Bytes[size-1] != 0 {
		b.Error("a private page is shared")
	}
	if err := s.Unswap(m); err != nil {
		b.Error(err)
	}
	b.detach(n)
}

// testLoosen checks that an object which has been loosened is to others as one that has been detached, and that its bytes
// stay; so it is after a swap or a guard.
func testLoosen(b *bench) {
	l, ok := b.Backend.(dsmimpl.Loosener)
	if !ok {
		b.Skip("skipped: this backend can't let go of an object and keep its bytes")
	}
	size := 2 * os.Getpagesize()
	o, m := b.create(b.object(size))
	n := b.attach(o, dsmimpl.ReadWrite)
	m = l.Loosen(m)
	if m.Bytes[size-1] = 'k'; n.Bytes[size-1] != 'k' {
		b.Error("bytes that were loosened are other bytes")
	}
	b.detach(n)
	b.destroy(o)
	b.wantGone(o)
	if m.Bytes[size-1] != 'k' {
		b.Error("the bytes are gone with the object")
	}
	b.detach(m)

	if g, ok := b.Backend.(dsmimpl.Guarder); ok {
		o, m := b.create(b.object(size))
		if err := g.DetachGuarded(m); err != nil {
			b.Fatal(err)
		}
		m = l.Loosen(m)
		b.destroy(o)
		b.wantGone(o)
		if !faults(func() { read(m.Bytes[0]) }) {
			b.Error("a slice kept past DetachGuarded did not fault")
		}
		if err := g.Unguard(m); err != nil {
			b.Error(err)
		}
	}
	if s, ok := b.Backend.(dsmimpl.Swapper); ok {
		o, m := b.create(b.object(size))
		if err := s.Swap(m, 0, size); err != nil {
			b.Fatal(err)
		}
		m = l.Loosen(m)
		b.destroy(o)
		b.wantGone(o)
		m.Bytes[0] = 'p'
		if err := s.Unswap(m); err != nil {
			b.Error(err)
		}
	}
}

func testPart(b *bench) {
	p, ok := b.Backend.(dsmimpl.PartAttacher)
	if !ok {
		b.Skip("skipped: this backend can't map a part")
	}
	page := os.Getpagesize()
	size := 4*page + 100
	o, m := b.create(b.object(size))
	for _, c := range []struct{ at, size int }{{0, 1}, {page - 1, 2}, {page, page}, {2*page + 4, 2 * page}, {0, size},
		{size - 1, 1}} {
		n, part, err := p.AttachPart(context.Background(), o, c.at, c.size)
		if err != nil {
			b.Fatalf("%d bytes at %d: %v", c.size, c.at, err)
		}
		part[0], part[c.size-1] = 'a', 'z'
		if len(part) != c.size || m.Bytes[c.at+c.size-1] != 'z' || c.size > 1 && m.Bytes[c.at] != 'a' {
			b.Errorf("%d bytes at %d are other bytes", c.size, c.at)
		}
		b.detach(n)
	}
	if _, _, err := p.AttachPart(context.Background(), o, size, page); err == nil {
		b.Error("bytes behind the end were mapped")
	}
	b.detach(m)
	b.destroy(o)
	_, _, err := p.AttachPart(context.Background(), o, 0, 1)
	if !errors.Is(err, dsmimpl.ErrNotFound) {
		b.Errorf("AttachPart of a missing object = %v, want ErrNotFound", err)
	}
}
