package locktable

import (
	"encoding/binary"
	"fmt"
	"sync/atomic"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/sys/ordered"
	"github.com/godsm/godsm/shm/dsa"
)

// makeLocked gives a name a head: one that no process uses, if the partition has many, else a free one. It runs under
// the partition's lock.
func (u *turn) makeLocked(name []byte, ident uint64) (*head, uint32, error) {
	h, n, err := u.reuseLocked()
	if err != nil {
		return nil, 0, err
	}
	words, err := u.roomToMakeLocked(h != nil)
	if err != nil {
		return nil, 0, err
	}
	if h == nil {
		n = u.p.free.Load()
		if h, err = u.headLocked(n); err != nil {
			return nil, 0, err
		}
		if h.kind.Load() != 0 {
			return nil, 0, corrupt("head %d of partition %d is listed as free, and has a name", n, u.i)
		}
		ordered.Store32(&u.p.free, h.next.Load())
		ordered.Store32(&u.p.made, u.p.made.Load()+1)
	}
	ordered.Store64(&h.ident, ident)
	ordered.Store64(&h.changed, 0)
	ordered.Store64(&h.died, 0)
	ordered.Store32(&h.asked, 0)
	ordered.Store64(&h.seen, 0)
	if len(name) > inline {
		if err := u.storeLocked(n, longAt, name); err != nil {
			return nil, 0, err
		}
	} else {
		var b [inline]byte
		copy(b[:], name)
		for i := range h.name {
			ordered.Store64(&h.name[i], binary.LittleEndian.Uint64(b[8*i:]))
		}
	}
	if u.mayHaveLostNoteLocked(ident) {
		h.died.Store(unknown)
	}
	failpoint.Hit("locktable/make/written")
	ordered.Store32(&h.kind, kindOf(len(name)))
	failpoint.Hit("locktable/make/named")
	b := &words[ident&uint64(len(words)-1)]
	ordered.Store32(&h.next, *b)
	*b = n
	ordered.Store32(&u.p.heads, u.p.heads.Load()+1)
	return h, n, nil
}

// reuseLocked takes the name away from a head that no process uses, and returns the head, if the partition has many
// heads and one of the next few is such; else it returns nil. The head is neither in the index nor free then: a
// process that dies before it has given it a name leaves that to the repair. It runs under the partition's lock.
func (u *turn) reuseLocked() (*head, uint32, error) {
	const looks = 8
	if u.p.heads.Load() < idleHeads {
		return nil, 0, nil
	}
	for range looks {
		u.hand++
		i, slot := int(u.hand/perPage), u.hand%perPage
		if slot == 0 {
			continue
		}
		if i >= len(u.pages) {
			u.hand = 0
			continue
		}
		if u.pages[i].at == 0 {
			u.hand = uint32(i+1)*perPage - 1
			continue
		}
		h, n := &u.pages[i].heads[slot], u.hand
		if h.kind.Load() == 0 || !u.idleLocked(h) {
			continue
		}
		if err := u.unlistLocked(h, n); err != nil {
			return nil, 0, err
		}
		ordered.Store32(&u.p.heads, u.p.heads.Load()-1)
		if err := u.forgetNameLocked(n, h); err != nil {
			return nil, 0, err
		}
		if g := u.gives.Load(); g > 0 {
			ordered.Store32(&u.gives, g-1)
		}
		return h, n, nil
	}
	return nil, 0, nil
}

// unlistLocked takes a head out of the index. It runs under the partition's lock.
func (u *turn) unlistLocked(h *head, n uint32) error {
	words, err := u.bucketsLocked()
	if err != nil {
		return err
	}
	at := &words[h.ident.Load()&uint64(len(words)-1)]
	if *at == n {
		*at = h.next.Load()
		return nil
	}
	for before, walked := *at, 0; before != 0 && walked <= int(u.p.heads.Load()); walked++ {
		b, err := u.headLocked(before)
		if err != nil {
			return err
		}
		next := b.next.Load()
		if next == n {
			ordered.Store32(&b.next, h.next.Load())
			return nil
		}
		before = next
	}
	return corrupt("the index of partition %d does not lead to head %d", u.i, n)
}

// storeLocked stores bytes in an object that a word of head n owns from then on.
func (u *turn) storeLocked(n uint32, at int, b []byte) error {
	place, err := u.placeLocked(n, at)
	if err != nil {
		return err
	}
	if place.Pointer() != 0 {
		if err := u.t.area.FreeFrom(place); err != nil {
			return err
		}
	}
	if err := u.t.area.AllocInto(len(b), place); err != nil {
		return fmt.Errorf("locktable: room for a name or a note: %w", err)
	}
	failpoint.Hit("locktable/store/allocated")
	to, err := u.t.area.Bytes(place.Pointer())
	if err == nil {
		copy(to, b)
	}
	return err
}

// dropLocked frees the object that a word of head n owns.
func (u *turn) dropLocked(n uint32, at int, word *atomic.Uint64) error {
	if word.Load() == 0 {
		return nil
	}
	place, err := u.placeLocked(n, at)
	if err != nil {
		return err
	}
	return u.t.area.FreeFrom(place)
}

func (u *turn) placeLocked(n uint32, at int) (dsa.Place, error) {
	i, slot := int(n/perPage), int(n%perPage)
	if _, err := u.headLocked(n); err != nil {
		return dsa.Place{}, err
	}
	return u.t.area.Place(u.pages[i].at, slot*headSize+at)
}

// roomToMakeLocked returns the index, when it is large enough and there is a free head, or one is found: idle heads
// go, or a page comes. It runs under the partition's lock.
func (u *turn) roomToMakeLocked(found bool) (words []uint32, err error) {
	n := u.p.heads.Load()
	if found {
		return u.bucketsLocked()
	}
	if u.p.free.Load() == 0 && u.p.made.Load() >= max(perPage, n/2) { // seldom enough for a walk over all heads
		u.p.made.Store(0)
		if err := u.collectLocked(); err != nil {
			return nil, err
		}
		n = u.p.heads.Load()
	}
	if u.p.free.Load() == 0 {
		if err := u.addAnyPageLocked(); err != nil {
			return nil, fmt.Errorf("locktable: no room for more locks: %w", err)
		}
	}
	if words, err = u.bucketsLocked(); err == nil && int(n) >= 2*len(words) {
		if err = u.rebuildIndexLocked(); err == nil {
			words, err = u.bucketsLocked()
		}
	}
	return words, err
}
