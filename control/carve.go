package control

import (
	"context"
	"fmt"
	"runtime/debug"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/sys/ordered"
)

// A carved segment lies in the reserved region, which each session has mapped. It has no object of its own, so nothing
// is ever asked of the system for it: its row is never creating or destroying, and making and dropping it is one
// section each.
//
//	section or store    a process that dies after it leaves
//	Carve               a live row that only its creator may attach, with the creator's bit: gone with that bit
//	Publish             a live row with the creator's bit
//	Unref, if last      nothing: row and pages are free
//
// This file does not promise that there is room: the region is for segments that fit, and Create is for the others.

// Carve makes a segment out of the reserved region: its row is live at once, and the member holds a reference. The
// caller says Publish; until then no other process can attach it, so that no process ever sees the bytes that were
// there before. If ok is false without an error there is no room in the region, or no region, and the caller says
// Create. Its errors are Create's. Size is in bytes and more than 0; the segment takes whole pages. Now is Unix time in
// ns, and may be a little old: what one member creates bears times in its order.
func (m *Member) Carve(ctx context.Context, size int, now int64) (e Entry, ok bool, err error) {
	return m.carve(ctx, size, now, plain)
}

// carve does what Carve does, by that entrance. A refusal by an entrance that does not wait is not counted, since its
// caller says Carve next.
func (m *Member) carve(ctx context.Context, size int, now int64, how entrance) (e Entry, ok bool, err error) {
	if uint64(size) > m.t.Limits.Reserved {
		return e, false, nil
	}
	random := randomEntryHandle()
	s, err := m.enter(ctx, how)
	if err != nil {
		return e, false, err
	}
	defer s.leaveSection(&err)
	first, ok := m.t.freePagesLocked(int(pagesFor(uint64(size))))
	if !ok {
		return e, false, nil
	}
	i, err := m.roomForCreateLocked(size, how != atOnce)
	if err != nil {
		return e, false, err
	}
	e = Entry{Handle: random | uint64(i), Size: size, Page: uint32(first + 1), CreatorPid: m.who.Pid}
	failpoint.Hit("control/carve/locked")
	// The pages before the row: a death in between leaves pages that no row names, and the repair makes the map anew.
	m.t.useRowPagesLocked(e.Page, uint64(size))
	failpoint.Hit("control/carve/taken")
	m.writeRowLocked(&e, now, Live)
	m.countCreatedLocked(size)
	failpoint.Hit("control/carve/live")
	return e, true, nil
}

// TryCarve is Carve for a caller that does not wait, neither for the control lock nor for another goroutine of this
// process. If ok is false there is no segment, and Carve would wait, make one or say why not.
func (m *Member) TryCarve(size int, now int64) (e Entry, ok bool) {
	e, ok, err := m.carve(context.Background(), size, now, atOnce)
	return e, ok && err == nil
}

// Publish zeroes the bytes of a segment that this member has carved, and lets others attach it. Bytes is the segment in
// the caller's mapping of the region. If the instance is being closed it is ErrStale, and the segment's row is free, or
// will be when the member says Unref. A region that was truncated is ErrCorrupt, and the segment stays the member's
// alone. It takes no lock.
func (m *Member) Publish(e *Entry, bytes []byte) (err error) {
	blank := false
	fault := debug.SetPanicOnFault(true)
	defer func() {
		if r := recover(); r != nil {
			if err = containedPanic(r); !blank {
				err = errkind.As(ErrCorrupt, fmt.Errorf("the reserved region is gone from under its mapping: "+
					"another process truncated the object (%v)", r))
			}
		}
		debug.SetPanicOnFault(fault)
	}()
	// Zeros first: the word is what others wait for, and a process that sees it plain maps these bytes. They are not
	// zeroed when a segment is given back, since a dead process does not do that, and its reclaimer need not have the
	// region mapped.
	clear(bytes)
	blank = true
	failpoint.Hit("control/publish/blank")
	// A swap, since there is no lock: a Close may have freed the row, or this member may have been taken for dead and
	// the row be another's by now. Then its word is not the one that this member stored, and stays as it is.
	if i := e.row(); i >= len(m.t.segments) ||
		!m.t.segments[i].word.CompareAndSwap(m.unpublishedWord(), segmentWord(Live, 0, 0)) {
		return ErrStale
	}
	failpoint.Hit("control/publish/done")
	return nil
}

// freeCarvedLocked frees the row and the pages of a segment in the reserved region; the caller holds the control lock,
// and the system has no part in that. The row must be sound, since its page and size are believed. The pages go before
// the row: a process that dies in between leaves a row that still says where they are, and the repair makes the map of
// pages from it.
func (t *Table) freeCarvedLocked(i int) {
	r := &t.segments[i]
	t.freeRowPagesLocked(r.page.Load(), r.size.Load())
	failpoint.Hit("control/free/pages")
	t.freeSegmentRowLocked(i, r)
	ordered.Store32(&t.header.freeHint, uint32(i))
}

// isCarved reports whether row i is, soundly, that of a segment in the reserved region. A row that is not sound is never
// carved: what it says of pages is not believed.
func (t *Table) isCarved(i int) bool {
	r := &t.segments[i]
	return r.page.Load() != 0 && t.isRowSound(i)
}
