package survey

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/godsm/godsm/batch/shared"
	"github.com/godsm/godsm/cache"
	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/sys/fault"
	"github.com/godsm/godsm/locktable"
	"github.com/godsm/godsm/registry"
	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/dsa"
	"github.com/godsm/godsm/shm/shmsync"
)

// reader returns the bytes of a segment, as the function that dsm.Look hands out. They are valid as long as its are.
type reader = func(dsm.Handle) ([]byte, error)

// readCache reads the counts and the curve of the cache of a name. Alive reports whether a session lives.
func readCache(x registry.Info, read reader, alive func(shmsync.Peer) bool) Cache {
	c := Cache{Info: x}
	b, err := read(x.Handle)
	if err == nil {
		c.Stats, c.Curve, err = cache.Read(shm.NewRegion(b), x.Version, alive)
	}
	c.Err = err
	return c
}

// maxWaits bounds how many pairs of a waiter and a holder are listed of one table: their number grows with the square of the
// sessions, and each lock's own waiters and holders are listed all.
const maxWaits = 10_000

// readTable reads the locks of the lock table of a name. A segment of its area may be cut off meanwhile: then the table has an
// error, and the look at the others goes on.
func readTable(x registry.Info, read reader) Table {
	t := Table{Info: x}
	t.Err = fault.Contain(func() error {
		s, err := dsa.Look(uint64(x.Handle), func(h uint64) ([]byte, error) { return read(dsm.Handle(h)) })
		if err != nil {
			return err
		}
		l, err := locktable.Look(s.Peek, x.Table)
		if err != nil {
			return err
		}
		t.Locks = byName(slices.Collect(l.List()))
		for e := range l.Waits() {
			if t.Waits = append(t.Waits, e); len(t.Waits) == maxWaits {
				break
			}
		}
		slices.SortFunc(t.Waits, func(a, b locktable.Edge) int { return cmp.Compare(a.Name, b.Name) })
		return nil
	})
	return t
}

// byName orders locks by their names, each of which it makes once: it is made of a path.
func byName(list []locktable.Info) []locktable.Info {
	type named struct {
		name string
		at   int
	}
	order := make([]named, len(list))
	for i, l := range list {
		order[i] = named{l.Name(), i}
	}
	slices.SortFunc(order, func(a, b named) int { return cmp.Compare(a.name, b.name) })
	sorted := make([]locktable.Info, len(list))
	for k, o := range order {
		sorted[k] = list[o.at]
	}
	return sorted
}

// readQueue reads the counts of the queue of a name. It reads a copy, which no process changes while it is read.
func readQueue(x registry.Info, read reader) Queue {
	q := Queue{Info: x}
	q.Err = fault.Contain(func() error {
		b, err := read(x.Handle)
		if err == nil {
			q.Stats, err = shared.Read(shm.NewRegion(bytes.Clone(b)))
		}
		return err
	})
	return q
}
