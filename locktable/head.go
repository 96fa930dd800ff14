package locktable

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"sync/atomic"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/dsa"
)

// A head's number, in its partition, is its page's number times perPage plus its slot, which is never 0.

// dirOf returns the directory that has a page's word, and the word's place in it.
func dirOf(page int) (k, at int) {
	k = bits.Len(uint(page/firstDir+1)) - 1
	return k, page - firstDir*(1<<k-1)
}

// pageWord returns the word that owns a page, nil if there is no directory with it.
func (t *Looker) pageWord(p *part, page int) (dsa.Pointer, error) {
	k, at := dirOf(page)
	if k >= dirs {
		return 0, corrupt("there is no page %d", page)
	}
	dir := dsa.Pointer(p.dirs[k].Load())
	if dir == 0 {
		return 0, nil
	}
	b, err := t.bytes(dir, 8*firstDir<<k)
	if err != nil {
		return 0, fmt.Errorf("locktable: a directory of pages: %w", err)
	}
	words, err := shm.SliceOf[atomic.Uint64](shm.NewRegion(b), 0, firstDir<<k)
	if err != nil {
		return 0, err
	}
	return dsa.Pointer(words[at].Load()), nil
}

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

// pageLocked returns the heads of a page, nil if there is no such page. It runs under the partition's lock, as all
// below.
func (l *local) pageLocked(n int) ([]head, error) {
	at, err := l.t.pageWord(l.p, n)
	if err != nil || at == 0 {
		return nil, err
	}
	heads, err := l.t.heads(at)
	if err != nil {
		return nil, err
	}
	for len(l.pages) <= n {
		l.pages = append(l.pages, page{})
	}
	l.pages[n] = page{at, heads}
	return heads, nil
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

// roomForNameLocked returns the index, when it is large enough and there is a free head, or one is found: idle heads
// go, or a page comes. It runs under the partition's lock.
func (u *turn) roomForNameLocked(found bool) (words []uint32, err error) {
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

// addAnyPageLocked makes a page. It runs under the partition's lock.
func (u *turn) addAnyPageLocked() error {
	i := 0
	for ; ; i++ {
		at, err := u.t.pageWord(u.p, i)
		if err != nil {
			return err
		}
		if at == 0 {
			break
		}
	}
	if err := u.addPageLocked(i); err != nil {
		return err
	}
	heads, err := u.pageLocked(i)
	if err != nil {
		return err
	}
	free := u.p.free.Load()
	for slot := perPage - 1; slot > 0; slot-- {
		heads[slot].next.Store(free)
		free = uint32(i*perPage + slot)
	}
	u.p.free.Store(free)
	return nil
}

// addPageLocked makes page i. It runs under the partition's lock.
func (u *turn) addPageLocked(i int) error {
	k, at := dirOf(i)
	if k >= dirs {
		return ErrFull
	}
	if u.p.dirs[k].Load() == 0 {
		if err := u.allocateOwnedLocked(8*firstDir<<k, dirsAt+8*k, 0); err != nil {
			return err
		}
	}
	return u.allocateOwnedLocked(pageSize, 8*at, dsa.Pointer(u.p.dirs[k].Load()))
}

// allocateOwnedLocked allocates an object of n bytes, all zero, that the word at to owns: of the partition, or of the
// object in. It runs under the partition's lock.
func (u *turn) allocateOwnedLocked(n, to int, in dsa.Pointer) error {
	stage, err := u.partPlace(comingAt)
	if err != nil {
		return err
	}
	place, err := u.partPlace(to)
	if in != 0 {
		place, err = u.t.area.Place(in, to)
	}
	if err != nil {
		return err
	}
	if err := u.t.area.AllocInto(n, stage); err != nil {
		return err
	}
	failpoint.Hit("locktable/come/allocated")
	b, err := u.t.area.Bytes(stage.Pointer())
	if err != nil {
		return err
	}
	clear(b)
	place.Set(stage.Pointer())
	failpoint.Hit("locktable/come/placed")
	stage.Clear()
	return nil
}
