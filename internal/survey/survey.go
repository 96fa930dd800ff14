// Package survey looks at all that an instance has, at once: sessions, segments, names, caches, locks, queues. It joins
// nothing and takes no lock.
//
// It adds over dsm.Look what the names stand for. It does not promise that the parts are of one moment, nor that all parts
// can be read: what can't be has an Error in its place, and the rest is there.
package survey

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/godsm/godsm/batch/shared"
	"github.com/godsm/godsm/cache"
	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/locktable"
	"github.com/godsm/godsm/registry"
	"github.com/godsm/godsm/shm/shmsync"
)

// Survey is what was seen.
type Survey struct {
	Begun  time.Time
	Took   time.Duration
	Report dsm.Report // without the root segment's bytes
	Names  []registry.Info
	Caches []Cache
	Tables []Table
	Queues []Queue
	Error  string // why the names can't be read; empty if they can
}

// Cache is what was seen of a cache.
type Cache struct {
	Name   string
	Handle dsm.Handle
	Stats  cache.Stats
	Curve  []cache.Point
	Error  string
}

// Table is what was seen of a lock table.
type Table struct {
	Name  string
	Locks []locktable.Info
	Waits []locktable.Edge
	Error string
}

// Queue is what was seen of a queue of package batch/shared.
type Queue struct {
	Name  string
	Stats shared.Stats
	Error string
}

// Take looks at the instance that runs in cfg.Dir. An error says that there is nothing to be seen.
func Take(ctx context.Context, cfg dsm.Config) (s Survey, err error) {
	s.Begun = time.Now()
	err = dsm.Look(ctx, cfg, func(r dsm.Report, read func(dsm.Handle) ([]byte, error)) error {
		s.Report = r
		s.named(r, read)
		return nil
	})
	s.Report.Root = nil
	s.Took = time.Since(s.Begun)
	return s, err
}

// named looks at what has a name.
func (s *Survey) named(r dsm.Report, read func(dsm.Handle) ([]byte, error)) {
	names, err := registry.Names(r)
	if err != nil {
		s.Error = err.Error()
		return
	}
	s.Names = names
	for _, x := range names {
		if x.State != registry.StateReady {
			continue
		}
		switch x.Kind {
		case cache.Kind:
			s.Caches = append(s.Caches, lookAtCache(x, read))
		case locktable.Kind:
			s.Tables = append(s.Tables, lookAtLocks(x, read))
		case shared.Kind:
			s.Queues = append(s.Queues, lookAtQueue(x, read))
		}
	}
}

func lookAtCache(x registry.Info, read func(dsm.Handle) ([]byte, error)) Cache {
	c := Cache{Name: x.Name, Handle: x.Handle}
	var err error
	c.Stats, c.Curve, err = ReadCache(x, read, func(shmsync.Peer) bool { return true }) // it looks at no lock
	c.Error = text(err)
	return c
}

func lookAtQueue(x registry.Info, read func(dsm.Handle) ([]byte, error)) Queue {
	q := Queue{Name: x.Name}
	var err error
	q.Stats, err = ReadQueue(x, read)
	q.Error = text(err)
	return q
}

// maxLocks bounds what is listed of one table: a page for people shows no more.
const maxLocks = 1000

func lookAtLocks(x registry.Info, read func(dsm.Handle) ([]byte, error)) Table {
	t := Table{Name: x.Name}
	l, err := ReadLocks(x, read)
	if err != nil {
		t.Error = err.Error()
		return t
	}
	for i := range l.List() {
		if t.Locks = append(t.Locks, i); len(t.Locks) == maxLocks {
			break
		}
	}
	for e := range l.Waits() {
		if t.Waits = append(t.Waits, e); len(t.Waits) == maxLocks {
			break
		}
	}
	slices.SortFunc(t.Locks, func(a, b locktable.Info) int { return cmp.Compare(a.Name(), b.Name()) })
	slices.SortFunc(t.Waits, func(a, b locktable.Edge) int { return cmp.Compare(a.Name, b.Name) })
	return t
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
