package dsm

import (
	"context"
	"fmt"

	"github.com/godsm/godsm/control"
	"github.com/godsm/godsm/resowner"
)

// Create makes a segment of size bytes, all zero, and attaches it; owner ends the attachment, and nil means
// Session.Owner. If nothing else holds the segment then, it is removed.
//
// Create may wait for the control lock, for at most as long as ctx lasts. Large segments take time (about 0.3 ms for
// each MB on tmpfs), since the memory is reserved here; ctx is checked on the way. A segment in the reserved region, of
// at most 16 KiB, takes some hundred nanoseconds and makes no system call.
//
// What the system can't give is ErrNoSpace. A full segment table is ErrTooManySegments, a limit of the settings
// ErrQuota, and a size below 1 ErrSize. If Create fails it leaves nothing behind.
func (s *Session) Create(ctx context.Context, owner *resowner.Owner, size int) (*Segment, error) {
	g, err := s.makeSegment(ctx, owner, size)
	if err != nil {
		return nil, s.errOfCreate(size, err)
	}
	return g, nil
}

// errOfCreate returns the error of a Create that make's err is for.
func (s *Session) errOfCreate(size int, err error) error {
	return wrapErr("create", 0, s.backend(), fmt.Errorf("%d bytes: %w", size, err))
}

// createHolding makes a segment, and a holding with one share. It may wait for the control lock and for the system's
// memory, while ctx lasts. If it fails nothing is left, except a reference that lingers.
func (s *Session) createHolding(ctx context.Context, size int) (h *holding, err error) {
	// Before others can attach it: no other goroutine may refer to it a second time. One that found the handle in a
	// list of rows, while this row was creating, has a holding in motion, which is refused and leaves the table: else
	// there would be two holdings of one reference, and the end of the first would remove the segment under the second.
	listed := func(e control.Entry) {
		s.mu.Lock()
		defer s.mu.Unlock()
		for early := s.table.find(Handle(e.Handle)); early != nil; early = s.table.find(Handle(e.Handle)) {
			_ = s.awaitIdleLocked(context.Background(), early)
		}
		h = s.holdLocked(Handle(e.Handle))
	}
	held, lingers, err := s.member.Make(ctx, size, s.clock.Load(), listed) // to look at the clock costs as much as the lock
	if h == nil {
		return nil, err
	}
	return h, s.endTakeOf(h, held, lingers, err)
}

// small is the largest size, in bytes, that Create zeroes under Session.mu, for which other goroutines may wait: 0.2
// us.
const small = 16 << 10

// tryCreateLocked tries to make a Segment in the reserved region without waiting. It returns nil if that can't be done at
// once: the caller then goes the long way. A Segment with an error is as segmentLocked's. The caller holds Session.mu.
//
// A process that dies after TryMake leaves a live segment with one reference of its row, which reclaim gives back.
func (s *Session) tryCreateLocked(size int, owner *resowner.Owner) (*Segment, error) {
	if size > small || !s.member.Carves || s.checked {
		return nil, nil
	}
	held, ok, err := s.member.TryMake(size, s.clock.Load())
	if err != nil || !ok {
		return nil, err
	}
	h := s.holdLocked(Handle(held.Entry.Handle))
	h.held, h.state, h.shared = held, mapped, 1
	return s.segmentLocked(h, nil, nil, owner)
}
