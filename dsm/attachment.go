package dsm

import (
	"errors"
	"slices"
	"sync"

	"github.com/godsm/godsm/dsmimpl"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/resowner"
	"github.com/godsm/godsm/shm"
)

// attachment is what a Segment needs while it lasts: its place in the owner, its hooks, its view, its leases.
//
// The session uses an attachment again for other Segments, since cold memory, and the garbage collector's work, would
// cost a third of a Create in the reserved region. A Segment is what the user keeps and is never used again, so one may
// outlive its attachment. Therefore:
//
//   - Segment.life is the attachment's life at the time when the Segment was made. It never changes.
//   - attachment.life goes up when the last use of the bytes is over. From then on no Segment has it.
//   - The attachment belongs to a Segment as long as both are equal. A method of Segment compares them under
//     attachment.mu before it looks at any other field but session, which never changes, and touches nothing if they
//     differ.
//   - The goroutine that has raised life is the only one that may use the attachment, until it has given it back with
//     releaseShare.
type attachment struct {
	session *Session

	// The next four fields are under Session.mu, or belong to the goroutine that has raised life.
	segment    *Segment
	prev, next *attachment // in the session's list, or among the spare ones
	holding    *holding

	// bytes are what Bytes returns. makeView sets them once more, under mu.
	bytes []byte

	mu   sync.Mutex
	life uint64 // goes up when it is over
	item resowner.Item
	// hooks are the functions of OnDetach that are still to be called, the newest first.
	hooks *hook
	// view is that of bytes; nil until Region is called, except in checked mode.
	view *shm.View
	// own is a mapping of this Segment alone; none if it uses the holding's, or the session's region.
	own dsmimpl.Mapping
	// leases counts the functions of With that run.
	leases int32
	// detached is set by Detach: no lease begins any more.
	detached bool
	// unhooked is set when all hooks have returned: none can be added any more.
	unhooked bool
	// drained is set when the view has ended and no lease of it is left.
	drained bool
	// lent keeps the view from being drained while functions of With run over a Detach: structures that they use must
	// not see their bytes given to others. Detach takes it, the last unlease leaves it.
	lent shm.Lease
	// The next three are under Session.mu. Parked: it is over, and Close is to give it back. Kept: it is over, but a
	// view of bytes that could not be swapped is still in use. Claimed: it is kept, and a goroutine is about to release
	// it, since its view is in use no longer.
	parked  bool
	kept    bool
	claimed bool
	// running is the hook that a Detach is calling now, for the error of a Close that waits for it.
	running *hook
}

// lockAttachment takes attachment.mu and returns the attachment if it is still g's. If ok is false the Segment is over or was
// never attached, and no lock is held.
func (g *Segment) lockAttachment() (a *attachment, is bool) {
	a = g.attachment
	if a == nil { // the zero Segment
		return nil, false
	}
	a.mu.Lock()
	if a.life == g.life {
		return a, true
	}
	a.mu.Unlock()
	return nil, false
}

// lockAttached does what lock does for calls that are too late once g is detached: then ok is false too, and no lock is
// held.
func (g *Segment) lockAttached() (a *attachment, is bool) {
	if a, is = g.lockAttachment(); is && a.detached {
		a.mu.Unlock()
		return nil, false
	}
	return a, is
}

// lastUseLocked reports, once, that nothing uses the bytes any more: the hooks have run, no With is in flight, and no
// structure holds a lease of the view. It raises life: from there on the attachment is the caller's, to give back with
// Session.releaseAttachment. The caller holds attachment.mu.
func (a *attachment) lastUseLocked() bool {
	if !a.unhooked || a.leases > 0 || a.view != nil && !a.drained {
		return false
	}
	a.life++
	return true
}

// overLocked reports whether nothing but calls of structures, whose leases do not stop the end of a session, uses the
// bytes. If over is true it has raised life, and the attachment is the caller's. Released reports that another
// goroutine has raised it and is about to call release. The caller holds Session.mu; attachment.mu is taken inside,
// which the lock order permits.
func (a *attachment) overLocked() (over, released bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.life != a.segment.life {
		return false, true
	}
	if !a.unhooked || a.leases > 0 {
		return false, false
	}
	a.life++
	return true, false
}

// enlistAttachmentLocked takes an attachment for a new Segment of h, a spare one if there is one, and puts it first in the
// session's list: so the list is ordered from the newest to the oldest. The caller holds Session.mu.
func (s *Session) enlistAttachmentLocked(h *holding) *attachment {
	a := s.spareAttachments
	if a != nil {
		s.spareAttachments = a.next
		a.detached, a.unhooked = false, false
	} else {
		a = &attachment{session: s}
	}
	a.holding = h
	a.prev, a.next = nil, s.attachments
	if a.next != nil {
		a.next.prev = a
	}
	s.attachments = a
	return a
}

// unlistAttachmentLocked takes an attachment that is over out of the session's list, and clears it to be used again. What few
// Segments need is cleared only if it is set: this is on the way of each Detach in the reserved region. The caller
// holds Session.mu.
func (s *Session) unlistAttachmentLocked(a *attachment) {
	if a.prev != nil {
		a.prev.next = a.next
	} else {
		s.attachments = a.next
	}
	if a.next != nil {
		a.next.prev = a.prev
	}
	a.segment, a.holding, a.bytes = nil, nil, nil
	if a.view != nil || a.own.Bytes != nil || a.parked || a.kept {
		a.own, a.view, a.drained, a.lent = dsmimpl.Mapping{}, nil, false, shm.Lease{}
		a.parked, a.kept, a.claimed = false, false, false
	}
	a.next, s.spareAttachments = s.spareAttachments, a
}

// overAttachmentsLocked returns the attachments that are over, the newest first, and marks them parked. Where bytes
// can be swapped it includes those that a view keeps. It waits for attachments that another goroutine is about to
// park. The caller holds Session.mu, which the wait releases.
func (s *Session) overAttachmentsLocked() (over []*attachment) {
	for {
		over = over[:0]
		waits := false
		for a := s.attachments; a != nil; a = a.next {
			switch {
			case a.kept && !a.claimed && s.canReplaceRange(): // its bytes are swapped now, with all others
				a.kept, a.parked = false, true
			case !a.parked && !a.kept:
				var released bool
				a.parked, released = a.overLocked()
				waits = waits || released
			}
			if a.parked {
				over = append(over, a)
			}
		}
		if !waits {
			return over
		}
		s.idle.Wait()
	}
}

// swapOverAttachments swaps the bytes of attachments that are over, the oldest first, and with region set all of the reserved
// region that is not lent. Then it gives the attachments back, the newest first. It returns all errors, and goes on
// after each.
//
// The order matters to a call that is still in flight and stores into several segments. What leads to others, such as a
// table, is mostly older than what it leads to. With the oldest swapped first such a call loses the later of its
// stores, which publish, and other processes never find an entry whose object is missing.
func (s *Session) swapOverAttachments(over []*attachment, region bool) error {
	var errs []error
	var gone []*attachment
	for _, a := range slices.Backward(over) {
		is, err := s.withdrawOwnMapping(a)
		if errs = append(errs, err); is {
			gone = append(gone, a)
		}
		if !region {
			errs = append(errs, s.swapRegionPart(a))
		}
	}
	if region {
		errs = append(errs, s.swapRegion(0, len(s.member.Books.Region.Bytes)))
	}
	// A death here leaves references whose bytes this process can reach no more. Reclaim gives them back.
	failpoint.Hit("dsm/close/swapped")
	for _, a := range slices.Backward(gone) {
		errs = append(errs, s.releaseShare(a))
	}
	return errors.Join(errs...)
}
