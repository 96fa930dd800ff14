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
// the truth. The map of pages is derived from the rows, and made again by the member that repairs the table.
//
// This file keeps the map. It does not promise that what is free is in one piece, and moves no segment to make it so.
// All but ReservedUsed runs under the control lock, or in Format, when no other process can open the segment yet.

// PageSize is the number of bytes in which the region is given out, whatever the system's pages are.
const PageSize = 4096

// maxPages bounds the region, in pages.
const maxPages = math.MaxUint32 - 64 // a row's page, plus one, has 32 bits

// pageWord is the map's share of 64 pages. A page is free if both words say so: what a stray store has hit is
// given to no process until the table is repaired. Both are stored under the control lock. They are read without it by
// people, to whom a stale word shows a few pages more or less.
type pageWord struct {
	_    structs.HostLayout
	used atomic.Uint64 // bit k: page k of the 64 is given out
	free atomic.Uint64 // the complement of used; beyond the region's end 0
}

const pageWordSize = 16

// pagesFor returns how many pages size bytes take.
func pagesFor(size uint64) uint64 { return (size + PageSize - 1) / PageSize }

// availablePages returns the pages of word i that may be given out: those of which both words say so, and that exist.
func (t *Table) availablePages(i int) uint64 {
	w := &t.pages[i]
	return w.free.Load() &^ w.used.Load() & t.existingPages(i)
}

// existingPages returns the pages that there are of the 64 of word i: the last word may reach beyond the region's end.
func (t *Table) existingPages(i int) uint64 {
	if last := t.Limits.Reserved/PageSize - uint64(64*i); last < 64 {
		return 1<<last - 1
	}
	return ^uint64(0)
}

// maxLook bounds a search under the lock, beyond the words that to take the pages costs anyway: some 10 us, 4 GiB.
// The next one goes on where this one ended.
const maxLook = 1 << 14

// freePagesLocked looks for n free pages in a row, from the hint on, all the way round and then as far as those could
// lie across the hint. It takes nothing. If ok is false there are none, or none in the part that maxLook lets it see;
// then the hint moves to where it stopped, so that the next search sees another part. The caller holds the control
// lock.
func (t *Table) freePagesLocked(n int) (first int, ok bool) {
	words := len(t.pages)
	if words == 0 {
		return 0, false
	}
	hint := uint64(t.header.pageHint.Load())
	// Hostile value: a hint beyond the map.
	if hint >= uint64(64*words) {
		hint = 0
	}
	w, mask := int(hint/64), ^uint64(0)<<(hint%64)
	run := 0
	// Run is the length of the free pages that end where the search is now, and first is where they begin. They reach
	// from one word into the next, but not from the region's end to its start.
	for k := 0; k <= min(words, maxLook)+(n+63)/64; k++ {
		m := t.availablePages(w) & mask
		mask = ^uint64(0) // only the first word begins in its middle; it is looked at again in the end
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

// pageWordShare returns the first of the words that have n pages, its share of them, and how many pages that is.
func (t *Table) pageWordShare(first, n int) (w *pageWord, mask uint64, k int) {
	bit := first % 64
	k = min(n, 64-bit)
	return &t.pages[first/64], ^uint64(0) >> (64 - k) << bit, k
}

// markPagesUsed marks n pages as given out. A page stops being free before it is used, so at no store is it both; a
// death in between leaves pages that no process gets until the map is made again.
func (t *Table) markPagesUsed(first, n int) {
	for n > 0 {
		w, mask, k := t.pageWordShare(first, n)
		ordered.Store64(&w.free, w.free.Load()&^mask)
		failpoint.Hit("control/pages/taking")
		ordered.Store64(&w.used, w.used.Load()|mask)
		first, n = first+k, n-k
	}
}

// markPagesFree marks n pages as free. It is markPagesUsed backwards: a page is free with the last of its two stores.
func (t *Table) markPagesFree(first, n int) {
	for n > 0 {
		w, mask, k := t.pageWordShare(first, n)
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

// useRowPagesLocked marks the pages of a segment as given out, and moves the hint behind them. The caller holds the
// control lock.
func (t *Table) useRowPagesLocked(page uint32, size uint64) {
	first, n := pagesOf(page, size)
	t.markPagesUsed(first, n)
	ordered.Store32(&t.header.pageHint, uint32(first+n))
}

// freeRowPagesLocked marks the pages of a segment as free, and moves the hint to them. Page and size are those of a
// sound row, or what a holder knows; of a garbled row they would be another segment's. The caller holds the control
// lock.
func (t *Table) freeRowPagesLocked(page uint32, size uint64) {
	first, n := pagesOf(page, size)
	t.markPagesFree(first, n)
	ordered.Store32(&t.header.pageHint, uint32(first)) // the next one finds them in its cache
}

// pagesInRegion reports whether a row's pages can be: those of a carved segment lie inside the region, and a segment
// with an object of its own has none. It refuses the page number of a garbled row, with which a process would map,
// zero or give back what lies behind the region. Size is at most an int's, so the sum does not overflow.
func (t *Table) pagesInRegion(size, osWord uint64, page uint32) bool {
	return page == 0 || osWord == 0 && uint64(page-1)+pagesFor(size) <= t.Limits.Reserved/PageSize
}

// mapPages makes the map again, from the rows. With doubt, since there is a row whose pages can't be
// told, what is used stays used: some of it may be that row's, whose holders still store into it.
//
// It stores over the old map, word by word, and a process that dies in between leaves a map in which used pages read
// free. No process reads it then: the lock is a dead holder's, and its next holder makes the map again.
func (t *Table) mapPages(doubt bool) {
	for i := range t.pages {
		w, exist, used := &t.pages[i], t.existingPages(i), uint64(0)
		if doubt {
			used = (w.used.Load() | ^w.free.Load()) & exist
		}
		w.free.Store(exist &^ used)
		w.used.Store(used)
		failpoint.Hit("control/settle/half-mapped")
	}
	for i := range t.segments {
		if wordState(t.segments[i].word.Load()) != Free && t.isCarved(i) {
			first, n := pagesOf(t.segments[i].page.Load(), t.segments[i].size.Load())
			t.markPagesUsed(first, n)
			failpoint.Hit("control/settle/taken")
		}
	}
}
