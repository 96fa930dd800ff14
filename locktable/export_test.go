package locktable

import (
	"context"
	"fmt"

	"github.com/godsm/godsm/internal/sys/fault"
	"github.com/godsm/godsm/shm/dsa"
)

// Area is the table's.
func (t *Table) Area() *dsa.Area { return t.area }

// Ends reports whether the name is released, or its table closed, or is about to be.
func (n *Name) Ends() bool { return n.over.Load() || n.t.view.Ended() }

// Near counts the Names that the table has for itself.
func (t *Table) Near() (n int) {
	for i := range t.names.near {
		for k := range t.names.near[i].ways {
			if t.names.near[i].ways[k].Load() != nil {
				n++
			}
		}
	}
	return n
}

// Shed releases them.
func (t *Table) Shed() bool { return t.names.releaseUnused() }

// Records counts the records that this session has in use.
func (t *Table) Records() int { return t.roster.InUse() }

// Collect takes the names away from all heads that are not in use.
func (t *Table) Collect() error {
	for i := range t.parts {
		if err := t.collect(i); err != nil {
			return err
		}
	}
	return nil
}

func (t *Table) collect(i int) (err error) {
	defer t.answer(&err, fault.Catch())
	u, err := t.enter(context.Background(), i)
	if err != nil {
		return err
	}
	defer u.leave()
	if err := u.collectLocked(); err != nil {
		return err
	}
	u.markDone()
	return nil
}

// Owned counts the objects that words of the table own: the area has no others. It is for a table that no one changes.
func (t *Table) Owned() (n int, err error) {
	n = 2 + t.roster.Owned()
	for i := range t.parts {
		p := &t.parts[i]
		u, err := t.enter(context.Background(), i)
		if err != nil {
			return 0, err
		}
		for k := range p.p.dirs {
			if p.p.dirs[k].Load() != 0 {
				n++
			}
		}
		for k := range p.p.buckets {
			if p.p.buckets[k].Load() != 0 {
				n++
			}
		}
		if c := p.p.coming.Load(); c != 0 {
			return 0, fmt.Errorf("partition %d has a page on its way", i)
		}
		seen := map[uint32]bool{}
		err = u.eachLocked(func(at uint32, h *head) error {
			if at%perPage == 1 {
				n++
			}
			for _, w := range []uint64{h.long.Load(), h.epitaph.Load()} {
				if w != 0 {
					n++
				}
			}
			if h.kind.Load() == 0 {
				return nil
			}
			name, ok := t.nameOf(nil, h)
			if !ok {
				return fmt.Errorf("head %d of partition %d has no whole name", at, i)
			}
			found, number, err := u.lookupLocked(name, h.ident.Load())
			if err != nil || found != h || number != at || seen[at] {
				return fmt.Errorf("head %d of partition %d is found as %d (%v)", at, i, number, err)
			}
			seen[at] = true
			return nil
		})
		if err == nil && len(seen) != int(p.p.heads.Load()) {
			err = fmt.Errorf("partition %d counts %d names, and has %d", i, p.p.heads.Load(), len(seen))
		}
		free := 0
		for n := p.p.free.Load(); n != 0 && err == nil; free++ {
			var h *head
			if h, err = u.headLocked(n); err == nil {
				if h.kind.Load() != 0 || seen[n] {
					err = fmt.Errorf("head %d of partition %d is free, and has a name", n, i)
				}
				n = h.next.Load()
			}
		}
		u.markDone()
		u.leave()
		if err != nil {
			return 0, err
		}
	}
	return n, nil
}
