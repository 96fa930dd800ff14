package control

import (
	"math"
	"math/bits"
	"structs"
	"sync/atomic"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/sys/ordered"
)

// The reserved region is one object that the supervisor makes at the start, and of which every session has a
// mapping. A segment that is carved out of it needs no call of the system: its row says which pages it has, and is
// the truth. The map of pages is derived from the rows, and made again by the member that settles them.

// PageSize is what the region is given out in, whatever the system's pages are.
const PageSize = 4096

const maxPages = math.MaxUint32 - 64 // a row's page, plus one, has 32 bits

// pageWord is the map's share of 64 pages. A page is free if both words say so: what a stray store has hit is
// given to no process until it is settled. All stored under the lock; read without it by people.
type pageWord struct {
	_    structs.HostLayout
	used atomic.Uint64
	free atomic.Uint64 // the complement of used; beyond the region's end 0
}

const pageWordSize = 16

func pagesFor(size uint64) uint64 { return (size + PageSize - 1) / PageSize }

func (t *Table) available(i int) uint64 {
	w := &t.pages[i]
	return w.free.Load() &^ w.used.Load() & t.exist(i)
}

// exist returns the pages that there are of a word's 64.
func (t *Table) exist(i int) uint64 {
	if last := t.Limits.Reserved/PageSize - uint64(64*i); last < 64 {
		return 1<<last - 1
	}
	return ^uint64(0)
}

// maxLook bounds a search under the lock, beyond the words that to take the pages costs anyway: some 10 us, 4 GiB.
// The next one goes on where this one ended.
const maxLook = 1 << 14

// freePages looks for n free pages in a row, from the hint on, all the way round and then as far as those
// could lie across the hint.
func (t *Table) freePages(n int) (first int, ok bool) {
	words := len(t.pages)
	if words == 0 {
		return 0, false
	}
	hint := uint64(t.header.pageHint.Load())
	if hint >= uint64(64*words) {
		hint = 0
	}
	w, mask := int(hint/64), ^uint64(0)<<(hint%64)
	run := 0
	for k := 0; k <= min(words, maxLook)+(n+63)/64; k++ {
		m := t.available(w) & mask
		mask = ^uint64(0)
		for at := 0; at < 64; {
			ones := bits.TrailingZeros64(^(m >> at))
			if run == 0 {
				first = 64*w + at
			}
			if run += ones; run >= n {
				return first, true
			}
			if at += ones; at < 64 {
				run = 0
				at += bits.TrailingZeros64(m >> at)
			}
		}
		if w++; w == words {
			w, run = 0, 0
		}
	}
	ordered.Store32(&t.header.pageHint, uint32(64*w-run)) // not inside free pages
	return 0, false
}

// share returns the first of the words that have n pages, its share of them, and how many pages that is.
func (t *Table) share(first, n int) (w *pageWord, mask uint64, k int) {
	bit := first % 64
	k = min(n, 64-bit)
	return &t.pages[first/64], ^uint64(0) >> (64 - k) << bit, k
}

func (t *Table) markUsed(first, n int) {
	for n > 0 {
		w, mask, k := t.share(first, n)
		ordered.Store64(&w.free, w.free.Load()&^mask)
		failpoint.Hit("control/pages/taking")
		ordered.Store64(&w.used, w.used.Load()|mask)
		first, n = first+k, n-k
	}
}

func (t *Table) markFree(first, n int) {
	for n > 0 {
		w, mask, k := t.share(first, n)
		ordered.Store64(&w.used, w.used.Load()&^mask)
		failpoint.Hit("control/pages/giving")
		ordered.Store64(&w.free, w.free.Load()|mask)
		first, n = first+k, n-k
	}
}

// pagesOf returns where in the region something lies that has this page and size; n is 0 if it does not.
func pagesOf(page uint32, size uint64) (first, n int) {
	if page == 0 {
		return 0, 0
	}
	return int(page - 1), int(pagesFor(size))
}

func (t *Table) takePages(page uint32, size uint64) {
	first, n := pagesOf(page, size)
	t.markUsed(first, n)
	ordered.Store32(&t.header.pageHint, uint32(first+n))
}

func (t *Table) givePagesBack(page uint32, size uint64) {
	first, n := pagesOf(page, size)
	t.markFree(first, n)
	ordered.Store32(&t.header.pageHint, uint32(first)) // the next one finds them in its cache
}

// within reports whether a row's pages can be: a segment of an object of its own has none.
func (t *Table) within(size, osWord uint64, page uint32) bool {
	return page == 0 || osWord == 0 && uint64(page-1)+pagesFor(size) <= t.Limits.Reserved/PageSize
}

// carved reports whether row i is, soundly, that of a segment in the reserved region.
func (t *Table) carved(i int) bool {
	r := &t.segments[i]
	return r.page.Load() != 0 && t.sound(i)
}

// ReservedUsed returns how many bytes of the reserved region are given out, in whole pages.
func (t *Table) ReservedUsed() (n uint64, err error) {
	err = guarded(func() error {
		for i := range t.pages {
			n += PageSize * uint64(bits.OnesCount64(t.pages[i].used.Load()))
		}
		return nil
	})
	return n, err
}

// mapPages makes the map again, from the rows. In doubt, since there is a row whose pages can't be
// told, what is used stays used.
func (t *Table) mapPages(doubt bool) {
	for i := range t.pages {
		w, exist, used := &t.pages[i], t.exist(i), uint64(0)
		if doubt {
			used = (w.used.Load() | ^w.free.Load()) & exist
		}
		w.free.Store(exist &^ used)
		w.used.Store(used)
		failpoint.Hit("control/settle/half-mapped")
	}
	for i := range t.segments {
		if stateOf(t.segments[i].word.Load()) != Free && t.carved(i) {
			first, n := pagesOf(t.segments[i].page.Load(), t.segments[i].size.Load())
			t.markUsed(first, n)
			failpoint.Hit("control/settle/taken")
		}
	}
}
