package locktable_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/godsm/godsm/internal/testing/proctest"
	"github.com/godsm/godsm/locktable"
	"github.com/godsm/godsm/shm/dsa"
	"github.com/godsm/godsm/shm/shmsync"
)

var ctx = context.Background()

func TestMain(m *testing.M) { proctest.Main(m) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// world is sessions in one process, over ordinary memory.
type world struct {
	heap  dsa.Heap
	boxes [64]shmsync.MailboxWord
	dead  [64]atomic.Bool
	areas []*dsa.Area
}

func (w *world) self(row int) shmsync.Self {
	self := shmsync.Self{
		Peer: shmsync.Peer{Row: row, Incarnation: 1}, Alive: func(p shmsync.Peer) bool { return !w.dead[p.Row].Load() },
	}
	self.Mailbox = shmsync.NewMailbox(w.boxes[:], nil, self)
	return self
}

// tables returns a table as n sessions see it.
func (w *world) tables(t testing.TB, n int, o locktable.Options) (list []*locktable.Table) {
	t.Helper()
	a, err := dsa.Create(ctx, &w.heap, w.self(1), dsa.Options{Sessions: 64})
	must(t, err)
	w.areas = append(w.areas, a)
	o.Application = "first"
	first, err := locktable.Create(a, o)
	must(t, err)
	list = append(list, first)
	for i := 1; i < n; i++ {
		b, err := dsa.Attach(ctx, &w.heap, w.self(1+i), a.Handle())
		must(t, err)
		w.areas = append(w.areas, b)
		o.Application = "other"
		other, err := locktable.Attach(b, first.Handle(), o)
		must(t, err)
		list = append(list, other)
	}
	t.Cleanup(func() {
		for _, x := range list {
			x.Close()
		}
	})
	return list
}

func lock(t testing.TB, x *locktable.Table, ctx context.Context, m locktable.Mode, path ...string) locktable.Hold {
	t.Helper()
	h, err := x.Lock(ctx, m, path...)
	must(t, err)
	return h
}

func digest(k int) string { return fmt.Sprintf("sha256:%064x", k*7919) }
