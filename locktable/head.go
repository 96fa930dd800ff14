package locktable

import (
	"encoding/binary"
	"fmt"

	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/dsa"
)

// A head's number, in its partition, is its page's number times perPage plus its slot, which is never 0.

// heads returns the heads of a page, nil if there is no such page.
func (t *Looker) heads(at dsa.Pointer) ([]head, error) {
	if at == 0 {
		return nil, nil
	}
	b, err := t.bytes(at, pageSize)
	if err != nil {
		return nil, fmt.Errorf("locktable: a page of heads: %w", err)
	}
	return shm.SliceOf[head](shm.NewRegion(b), 0, perPage)
}

// headLocked returns the head of that number. It runs under the partition's lock.
func (l *local) headLocked(n uint32) (*head, error) {
	i, slot := int(n/perPage), n%perPage
	if i < len(l.pages) && l.pages[i].at != 0 && slot != 0 {
		return &l.pages[i].heads[slot], nil
	}
	heads, err := l.pageLocked(i)
	if err != nil {
		return nil, err
	}
	if heads == nil || slot == 0 {
		return nil, corrupt("partition %d has no head %d", l.i, n)
	}
	return &heads[slot], nil
}

// bucketsLocked returns the index. It runs under the partition's lock.
func (l *local) bucketsLocked() ([]uint32, error) {
	at := dsa.Pointer(l.p.buckets[l.p.which.Load()&1].Load())
	if at == l.buckets.at {
		return l.buckets.words, nil
	}
	b, err := l.t.area.Bytes(at)
	if err != nil {
		return nil, fmt.Errorf("locktable: the index of partition %d: %w", l.i, err)
	}
	n := len(b) / 4
	if n&(n-1) != 0 || n == 0 {
		return nil, corrupt("the index of partition %d has %d buckets", l.i, n)
	}
	words, err := shm.SliceOf[uint32](shm.NewRegion(b), 0, n)
	if err != nil {
		return nil, err
	}
	l.buckets = index{at, words}
	return words, nil
}

// lookupLocked finds the head of a name; it is nil if there is none. It runs under the partition's lock.
func (u *turn) lookupLocked(name []byte, ident uint64) (*head, uint32, error) {
	words, err := u.bucketsLocked()
	if err != nil || len(words) == 0 {
		return nil, 0, err
	}
	n := words[ident&uint64(len(words)-1)]
	for walked := 0; n != 0; walked++ {
		h, err := u.headLocked(n)
		if err != nil {
			return nil, 0, err
		}
		if h.ident.Load() == ident && u.t.hasName(h, name) {
			return h, n, nil
		}
		if n = h.next.Load(); walked > int(u.p.heads.Load()) {
			return nil, 0, corrupt("the index of partition %d leads in a ring", u.i)
		}
	}
	return nil, 0, nil
}

// hasName reports whether a head has a name.
func (t *Looker) hasName(h *head, name []byte) bool {
	if h.kind.Load() != kindOf(len(name)) {
		return false
	}
	if len(name) > inline {
		b, err := t.bytes(dsa.Pointer(h.long.Load()), len(name))
		return err == nil && string(b[:len(name)]) == string(name)
	}
	var b [inline]byte
	for i := 0; i < len(name); i += 8 {
		binary.LittleEndian.PutUint64(b[i:], h.name[i/8].Load())
	}
	return string(b[:len(name)]) == string(name)
}

func kindOf(length int) uint32 { return 1 | uint32(length)<<8 }

// nameOf appends the name of a head to b, and reports whether it is whole: a head that is looked at without the lock
// may get another name during the look.
func (t *Looker) nameOf(b []byte, h *head) ([]byte, bool) {
	kind := h.kind.Load()
	n := int(kind >> 8)
	if kind&0xff != 1 || n > MaxParts*(MaxPart+1) {
		return nil, false
	}
	if n > inline {
		long, err := t.bytes(dsa.Pointer(h.long.Load()), n)
		if err != nil {
			return nil, false
		}
		b = append(b, long[:n]...)
	} else {
		at := len(b)
		for i := 0; i < n; i += 8 {
			b = binary.LittleEndian.AppendUint64(b, h.name[i/8].Load())
		}
		b = b[:at+n]
	}
	return b, hash(b, t.seed) == h.ident.Load()
}

// partPlace returns the place of a word of a partition.
func (l *local) partPlace(at int) (dsa.Place, error) {
	return l.t.area.Place(l.t.handle, partsAt+l.i*partSize+at)
}
