package dshash_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/godsm/godsm/internal/catalog"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/internal/testing/proctest"
	"github.com/godsm/godsm/shm/dsa"
	"github.com/godsm/godsm/shm/dshash"
)

// gate is a heap in which a call that gives a segment back waits, and keeps the area's lock as if its process were stopped.
type gate struct {
	dsa.Heap
	come, pass chan bool
}

func (g *gate) Unpin(ctx context.Context, handle uint64) error {
	g.come <- true
	<-g.pass
	return g.Heap.Unpin(ctx, handle)
}

// TestRepairWaits: the repair of a partition waits for the area's lock as long as the context says, and
// is done by a later call.
func TestRepairWaits(t *testing.T) {
	g := gate{come: make(chan bool, 9), pass: make(chan bool)}
	a, err := dsa.Create(ctx, &g, self(1), dsa.Options{Sessions: 2})
	must(t, err)
	tab, err := dshash.Create[uint64, uint64](a, dshash.Options{Partitions: 1})
	must(t, err)
	bs, err := dshash.CreateBytes(a, dshash.Options{Partitions: 1})
	must(t, err)
	must(t, tab.Set(ctx, 1, 1))
	b, err := dsa.Attach(ctx, &g, self(2), a.Handle())
	must(t, err)
	p, err := b.Alloc(2 << 20)
	must(t, err)
	must(t, b.Free(p))
	dshash.Dirty(tab, bs)
	trimmed := make(chan error)
	go func() { trimmed <- b.Trim(ctx) }()
	<-g.come
	short, cancel := context.WithCancel(ctx)
	time.AfterFunc(20*time.Millisecond, cancel)
	if _, _, err := tab.Find(short, 1); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	close(g.pass)
	must(t, <-trimmed)
	if e, found, err := tab.Find(ctx, 1); !found || err != nil || *e.Value() != 1 {
		t.Error(found, err)
	} else {
		e.Release()
	}
	clean(t, a, 0, tab, bs)
	must(t, b.Detach())
	must(t, a.Detach())
}

func init() { proctest.Register("holder", holder) }

// holder holds the entry 1 and says so: DIR AREA TABLE BYTES.
func holder(c *proctest.Child) error {
	w, s, err := found(c.Args)
	if err != nil {
		return err
	}
	defer s.Close()
	e, found, err := w.tab.FindExclusive(ctx, 1)
	if !found || err != nil {
		return fmt.Errorf("%v, %w", found, err)
	}
	defer e.Release()
	v, err := e.Update()
	if err != nil {
		return err
	}
	*v = seal(99)
	c.Say("holding")
	c.Hear()
	return nil
}

// TestStoppedHolder: a session that is stopped with an entry blocks the calls that want its partition until
// their context ends, and no lookup; killed, it blocks no call, and has changed nothing.
func TestStoppedHolder(t *testing.T) {
	w, args := makeWorld(t, catalog.Default(), dsa.Options{}, 1)
	must(t, w.tab.Set(ctx, 1, seal(1)))
	p := proctest.Start(t, "holder", args...)
	p.Expect("holding")
	if err := p.Stop(); err != nil {
		t.Skip("skipped:", err)
	}
	if dshash.Lockless {
		if v, found, err := w.tab.Get(ctx, 1); !found || err != nil || v != seal(1) {
			t.Error(v, found, err)
		}
	}
	short, cancel := context.WithTimeout(ctx, 20e6)
	defer cancel()
	if err := w.tab.Set(short, 2, seal(2)); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	p.Kill()
	must(t, w.tab.Set(ctx, 2, seal(2)))
	if v, found, err := w.tab.Get(ctx, 1); !found || err != nil || v != seal(1) {
		t.Error(v, found, err)
	}
	instancetest.Eventually(t, "the dead one is noticed", func() bool {
		rep, err := w.area.Verify(ctx)
		must(t, err)
		return rep.Sessions == 1
	})
	clean(t, w.area, 0, w.tab, w.bs)
	w.end(t)
}
