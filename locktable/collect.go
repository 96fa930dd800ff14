package locktable

import (
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/shm/dsa"
)

// eachLocked calls f for every head of the partition, with a name or not. It runs under the partition's lock, as all
// below.
func (u *turn) eachLocked(f func(n uint32, h *head) error) error {
	for k := range u.p.dirs {
		if u.p.dirs[k].Load() == 0 {
			continue
		}
		first := firstDir * (1<<k - 1)
		for i := first; i < first+firstDir<<k; i++ {
			heads, err := u.pageLocked(i)
			if err != nil {
				return err
			}
			if heads == nil {
				if i < len(u.pages) {
					u.pages[i] = page{}
				}
				continue
			}
			for slot := 1; slot < perPage; slot++ {
				if err := f(uint32(i*perPage+slot), &heads[slot]); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// collectLocked takes the names away from heads that are not in use, gives pages back that have no head left but for
// one, and makes the index and the list of free heads anew. It runs under the partition's lock.
func (u *turn) collectLocked() error {
	err := u.eachLocked(func(n uint32, h *head) error {
		if h.kind.Load() == 0 || !u.idleLocked(h) {
			return nil
		}
		return u.forgetNameLocked(n, h)
	})
	if err != nil {
		return err
	}
	return u.rebuildIndexLocked()
}

// idleLocked reports whether no owner holds a lock, waits for it, or has pinned it, and there is no death or change to
// report of it. It runs under the partition's lock.
func (u *turn) idleLocked(h *head) bool {
	died := h.died.Load()
	return h.lock.Idle() && h.lock.Empty() && (died == 0 || died == unknown && u.remembersLostNoteLocked(h.ident.Load()))
}

// rebuildIndexLocked makes all that follows from the heads: the index, of a size that fits, the list of free heads,
// and counts. It gives pages back that are empty, but for one. It runs under the partition's lock.
func (u *turn) rebuildIndexLocked() error {
	heads, notes := 0, 0
	spare := false
	for k := range u.p.dirs {
		at := dsa.Pointer(u.p.dirs[k].Load())
		if at == 0 {
			continue
		}
		first, used := firstDir*(1<<k-1), false
		for i := first; i < first+firstDir<<k; i++ {
			list, err := u.pageLocked(i)
			if err != nil {
				return err
			}
			if list == nil {
				continue
			}
			named := 0
			for slot := 1; slot < perPage; slot++ {
				if list[slot].kind.Load() != 0 {
					named++
					if died := list[slot].died.Load(); died != 0 && died != unknown {
						notes++
					}
				}
			}
			if named == 0 && spare {
				failpoint.Hit("locktable/relist/empty")
				if err := u.freePageLocked(at, i, i-first); err != nil {
					return err
				}
				continue
			}
			spare = spare || named == 0
			used = true
			heads += named
		}
		if !used && k > 0 {
			place, err := u.partPlace(dirsAt + 8*k)
			if err == nil {
				u.p.epoch.Add(1)
				err = u.t.area.FreeFrom(place)
			}
			if err != nil {
				return err
			}
			failpoint.Hit("locktable/relist/no-dir")
		}
	}
	u.p.heads.Store(uint32(heads))
	u.p.notes.Store(uint32(notes))
	words, err := u.indexForLocked(heads)
	if err != nil {
		return err
	}
	clear(words)
	free := uint32(0)
	err = u.eachLocked(func(n uint32, h *head) error {
		if h.kind.Load() == 0 {
			h.next.Store(free)
			free = n
			return nil
		}
		b := &words[h.ident.Load()&uint64(len(words)-1)]
		h.next.Store(*b)
		*b = n
		return nil
	})
	if err != nil {
		return err
	}
	u.p.free.Store(free)
	failpoint.Hit("locktable/relist/listed")
	return nil
}

// indexForLocked returns an index with room for n heads, and some: the one there is, or another one in its place. It
// runs under the partition's lock.
func (u *turn) indexForLocked(n int) ([]uint32, error) {
	size := 32
	for size < n {
		size *= 2
	}
	which := int(u.p.which.Load() & 1)
	if u.p.buckets[which].Load() != 0 {
		words, err := u.bucketsLocked()
		if err != nil {
			return nil, err
		}
		if len(words) >= size && len(words) <= 4*size {
			return words, nil
		}
	}
	other := 1 - which
	place, err := u.partPlace(bucketsAt + 8*other)
	if err != nil {
		return nil, err
	}
	if place.Pointer() != 0 {
		if err := u.t.area.FreeFrom(place); err != nil {
			return nil, err
		}
	}
	if err := u.t.area.AllocInto(4*size, place); err != nil {
		return nil, err
	}
	failpoint.Hit("locktable/resize/allocated")
	u.p.which.Store(uint32(other))
	failpoint.Hit("locktable/resize/chosen")
	if old, err := u.partPlace(bucketsAt + 8*which); err != nil {
		return nil, err
	} else if old.Pointer() != 0 {
		if err := u.t.area.FreeFrom(old); err != nil {
			return nil, err
		}
	}
	return u.bucketsLocked()
}
