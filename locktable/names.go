package locktable

import (
	"hash/maphash"
	"strings"
	"sync"

	"github.com/godsm/godsm/internal/hashing"
	"github.com/godsm/godsm/internal/sys/fault"
)

// names are the Names of a table that have a pin: those that callers have, and those of paths that were lately locked
// more than once, which the table has for itself.
type names struct {
	mu   sync.Mutex
	list map[*Name]struct{}

	seed    maphash.Seed
	near    [nearSets]nearSet
	pinning sync.Mutex // of the goroutine that changes near
}

const (
	nearSets = 256
	nearWays = 4 // of a set; together as many names as a session pins for itself
)

func (ns *names) add(n *Name) {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	if ns.list == nil {
		ns.list = map[*Name]struct{}{}
	}
	ns.list[n] = struct{}{}
}

func (ns *names) remove(n *Name) {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	delete(ns.list, n)
}

// waitHeadsUnused waits, after the end of the table's view, until no goroutine uses a head without another right to it
// than a pin.
func (ns *names) waitHeadsUnused() {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	for n := range ns.list {
		n.waitHeadUnused()
	}
}

// find returns the Name that the table has of a path, nil if it has none, and the set where it belongs.
func (ns *names) find(path []string) (n *Name, set *nearSet, hash uint64) {
	for _, part := range path {
		hash = hashing.Mix(hash^hashing.Odd0, maphash.String(ns.seed, part)^hashing.Odd1)
	}
	set = &ns.near[hash%nearSets]
	for i := range set.ways {
		if n := set.ways[i].Load(); n != nil && n.hash == hash && n.isOfPath(path) {
			return n, set, hash
		}
	}
	return nil, set, hash
}

// releaseUnused releases the Names that the table has for itself and that are not in use, and reports whether there
// were any.
func (ns *names) releaseUnused() (any bool) {
	ns.pinning.Lock()
	defer ns.pinning.Unlock()
	for i := range ns.near {
		s := &ns.near[i]
		for k := range s.ways {
			if n := s.ways[k].Load(); n != nil && n.releaseIfUnused() {
				s.ways[k].Store(nil)
				any = true
			}
		}
	}
	return any
}

// keepName makes a Name of the path that h has just got the lock of, in place and with nothing beside it, so that it is
// found the next time. Of a lock that many want a Name would be no use: it is not taken without the partition's lock, and
// each pin is one more record that walks over the lock's list pass. KeepName does not wait.
func (t *Table) keepName(h *hold, path []string, set *nearSet, hash uint64) {
	if !t.names.pinning.TryLock() {
		return
	}
	defer t.names.pinning.Unlock()
	if n, _, _ := t.names.find(path); n != nil {
		return
	}
	i := set.placeForAnother()
	if i < 0 {
		return
	}
	n := t.newName(h.key.kept(), h.ident)
	n.near, n.hash = true, hash
	for i, part := range path {
		n.path[i] = strings.Clone(part)
	}
	if t.pinName(n, h) == nil {
		set.ways[i].Store(n)
	}
}

// pinName gives a Name the head of a lock that is held.
func (t *Table) pinName(n *Name, h *hold) (err error) {
	defer t.answer(&err, fault.Catch())
	u, err := t.tryEnter(h.partition(), tryFor)
	if err != nil {
		return err
	}
	defer u.leave()
	err = u.pinLocked(n, h.head, h.n)
	u.markDone()
	return err
}
