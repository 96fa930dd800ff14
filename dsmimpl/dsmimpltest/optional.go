package dsmimpltest

import (
	"context"
	"errors"
	"os"

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
	want(o, "mapped by nobody", false)
	want(o, "asked again", false)
	b.detach(b.attach(o, dsmimpl.ReadWrite)) // the question does not keep anybody out
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
		b.Skip("skipped: objects of this backend need nobody to keep them")
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
