package locktable

import (
	"fmt"
	"math/bits"
	"sync/atomic"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/dsa"
)

// pageLocked returns the heads of a page, nil if there is no such page. It runs under the partition's lock, as all
// below whose names end in Locked.
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

// dirOf returns the directory that has a page's word, and the word's place in it.
func dirOf(page int) (k, at int) {
	k = bits.Len(uint(page/firstDir+1)) - 1
	return k, page - firstDir*(1<<k-1)
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
	if err == nil && heads == nil {
		err = corrupt("page %d of partition %d has gone as it was made", i, u.i)
	}
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

// freePageLocked frees page i, whose address is word at of a directory. It runs under the partition's lock.
func (u *turn) freePageLocked(dir dsa.Pointer, i, at int) error {
	place, err := u.t.area.Place(dir, 8*at)
	if err != nil {
		return err
	}
	u.pages[i] = page{}
	u.p.epoch.Add(1)
	return u.t.area.FreeFrom(place)
}

// placeOrFreePageLocked empties the word that owns a page while it is made: the page has its place, or is freed. It
// runs under the partition's lock.
func (u *turn) placeOrFreePageLocked() error {
	stage, err := u.partPlace(comingAt)
	if err != nil || stage.Pointer() == 0 {
		return err
	}
	for k := range u.p.dirs {
		dir := dsa.Pointer(u.p.dirs[k].Load())
		if dir == stage.Pointer() {
			stage.Clear()
			return nil
		}
		if dir == 0 {
			continue
		}
		for i := range firstDir << k {
			if at, err := u.t.pageWord(u.p, firstDir*(1<<k-1)+i); err != nil {
				return err
			} else if at == stage.Pointer() {
				stage.Clear()
				return nil
			}
		}
	}
	return u.t.area.FreeFrom(stage)
}
