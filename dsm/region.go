package dsm

import (
	"os"
	"slices"

	"github.com/godsm/godsm/control"
	"github.com/godsm/godsm/dsmimpl"
)

// The end of the reserved region in this process. While Close, or a lease that it has left, swaps parts of it, the
// pages that lent bytes lie on stay as they are. A segment in the region shares its pages with others where the
// system's page is larger than control.PageSize: there a lent segment keeps its neighbours' bytes too.
//
// All of this is about addresses of this one process. What of the region belongs to which segment is in the books, and
// does not change here.

// span is a part of the region, in bytes, on whole pages of the system.
type regionSpan struct{ from, to int }

// regionSpanOf returns the pages that an attachment's bytes lie on if it is in the region. In checked mode no bytes are used
// there: each Segment has a mapping of its own, and ok is false.
func (s *Session) regionSpanOf(a *attachment) (p regionSpan, ok bool) {
	at, carved := a.holding.held.Entry.Carved()
	if !carved || s.checked || s.member.Books.Region.Bytes == nil {
		return p, false
	}
	page := os.Getpagesize()
	return regionSpan{at / page * page, min((at+a.holding.held.Entry.Size+page-1)/page*page, len(s.member.Books.Region.Bytes))}, true
}

// swapRegionPart swaps the pages of an attachment that was lent, except those on which another lent one lies too.
func (s *Session) swapRegionPart(a *attachment) error {
	if p, ok := s.regionSpanOf(a); ok {
		return s.swapRegion(p.from, p.to)
	}
	return nil
}

// swapRegion swaps what is not lent between two bytes of the region; in checked mode it makes all of it inaccessible.
// If the system refuses, as it does when a process has too many mappings, it gives back old ranges and tries once more.
// What can't be swapped is unmapped in the end (unmapRegion).
func (s *Session) swapRegion(from, to int) error {
	swap := s.regionSwapCall()
	if from == to || swap == nil {
		return nil
	}
	s.mu.Lock()
	spans := append(s.lentRegionSpansLocked(), regionSpan{to, to})
	s.mu.Unlock()
	for _, lent := range spans {
		if until := min(lent.from, to); from < until {
			try := func() error { return swap(from, until) }
			if panicAsErr(try) != nil {
				former.makeRoom()
				if err := panicAsErr(try); err != nil {
					s.regionRefused.Store(true)
					return err
				}
			}
		}
		from = max(from, lent.to)
	}
	if !s.regionSwapped { // by Close, before any lease comes here
		s.regionSwapped = true
	}
	return nil
}

// regionSwapCall returns the backend's call that swaps a part of the region, nil if it has none.
func (s *Session) regionSwapCall() func(from, to int) error {
	if b, ok := s.member.Books.Backend.(dsmimpl.Guarder); ok && s.checked {
		return func(int, int) error { return b.DetachGuarded(s.member.Books.Region) }
	}
	if b, ok := s.member.Books.Backend.(dsmimpl.Swapper); ok {
		return func(from, to int) error { return b.Swap(s.member.Books.Region, from, to) }
	}
	return nil
}

// lentRegionSpansLocked returns the pages of the region that are still in use, in their order: of Segments whose hooks have
// not run yet, or with a With in flight. The caller holds Session.mu; attachment.mu is taken inside, which the lock
// order permits.
func (s *Session) lentRegionSpansLocked() (spans []regionSpan) {
	for a := s.attachments; a != nil; a = a.next {
		a.mu.Lock()
		lent := !a.unhooked || a.leases > 0
		a.mu.Unlock()
		if p, ok := s.regionSpanOf(a); ok && lent {
			spans = append(spans, p)
		}
	}
	slices.SortFunc(spans, func(x, y regionSpan) int { return x.from - y.from })
	return spans
}

// regionSharesPages reports whether two segments in the region may lie on one page of the system. One that is over then keeps
// its reference until the session gives up its row: if it were given to another session, that one's bytes would lie on
// a page which a lent segment keeps mapped here.
func regionSharesPages() bool { return os.Getpagesize() > control.PageSize }

// unmapRegion ends the session's use of the region. If it was swapped its address range stays for a while, so that late
// uses find zeros; else it is unmapped.
func (s *Session) unmapRegion() error {
	r := &formerRange{mapping: s.member.Books.Region}
	switch {
	case s.member.Books.Region.Bytes == nil:
		return nil
	case s.regionSwapped && s.replaceRangeCall(r) != nil:
		s.loosenRange(r)
		if s.regionRefused.Load() { // what is left must not stay: its pages are other segments' now
			return panicAsErr(func() error { return r.give(r.mapping) })
		}
		return former.add(r, nil)
	}
	return s.member.Books.Unmap(s.member.Books.Region)
}
