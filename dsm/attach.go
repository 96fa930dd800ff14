package dsm

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync/atomic"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/resowner"
	"github.com/godsm/godsm/shm"
)

// Attach maps the segment with that handle, for reading and writing; owner ends the attachment, and nil means
// Session.Owner. A handle that is not, or no longer, live is ErrNotFound.
//
// A second Attach of a handle in one process shares the mapping, except in checked mode; it makes no system call. The
// first one may wait for the control lock, and for another goroutine that attaches or detaches the segment, while ctx
// lasts.
func (s *Session) Attach(ctx context.Context, owner *resowner.Owner, h Handle) (*Segment, error) {
	g, err := s.attachSegment(ctx, owner, h)
	if err != nil {
		return nil, wrapErr("attach", h, s.backend(), err)
	}
	return g, nil
}

// attachSegment does what Attach does, without the Error around the error. Its caller is as make's. Two orders matter.
// The call is counted as in flight before the owner is reserved, so that Close, which ends the owners, waits for it;
// and the owner is reserved before the segment is referred to, so that what is acquired can be remembered.
// (Owner.Reserve fails early; Owner.Remember may still fail later, if the owner has ended by then.)
func (s *Session) attachSegment(ctx context.Context, owner *resowner.Owner, h Handle) (*Segment, error) {
	if err := errIfOver(ctx); err != nil {
		return nil, err
	}
	if owner == nil {
		owner = s.owner
	}
	// The short way: the handle is mapped here already.
	if g, err := s.shareHolding(h, owner); g != nil || err != nil {
		return g, err
	}
	if err := s.beginCall(ctx); err != nil {
		return nil, err
	}
	hold, err := (*holding)(nil), owner.Reserve()
	if err == nil {
		hold, err = s.acquireHolding(ctx, h)
	}
	if err != nil {
		s.endCall()
		return nil, err
	}
	return s.attachShare(hold, owner)
}

// attachShare makes a Segment of one share of h, with a mapping of its own if none can be shared, and ends the call that
// got the share. If the mapping fails, or the owner has ended since it was reserved, the Segment is detached again and
// the errors are returned.
func (s *Session) attachShare(h *holding, owner *resowner.Owner) (*Segment, error) {
	var tr *trail
	if s.checked {
		tr = &trail{attached: callSite()}
	}
	var own *ownMapping
	var err error
	s.mu.Lock()
	shareable := s.holdingIsShareableLocked(h)
	s.mu.Unlock()
	if !shareable {
		var m ownMapping
		m, err = s.ownMapping(h)
		own = &m
	}
	s.destroyOwed()
	s.mu.Lock()
	s.endCallLocked()
	g, refused := s.segmentLocked(h, own, tr, owner)
	s.mu.Unlock()
	return g.detachIfErr(errors.Join(err, refused))
}

// AttachAs attaches a segment that New has made for a T, as Session.Attach does, and returns its T in place. A segment
// that holds anything else, also a T of another layout, is ErrMismatch, and is not attached then. The pointer is valid
// as that of New is.
func AttachAs[T any](ctx context.Context, s *Session, owner *resowner.Owner, h Handle) (*T, *Segment, error) {
	if err := shm.Check[T](); err != nil {
		return nil, nil, wrapErr("attach", h, s.backend(), err)
	}
	g, err := s.attachSegment(ctx, owner, h)
	if err != nil {
		return nil, nil, wrapErr("attach", h, s.backend(), err)
	}
	// The size is in the books and is compared first: a word is read only where New has stored one.
	if g.Size() != typedSize[T]() {
		why := fmt.Errorf("it has %d bytes, and New makes %d for a %v: attach it as the type that New was called with, or by Attach",
			g.Size(), typedSize[T](), reflect.TypeFor[T]())
		return nil, nil, errors.Join(g.fail("attach", errkind.As(ErrMismatch, why)), g.Detach())
	}
	return typed[T](g, "attach", func(layout *atomic.Uint64) error {
		if is, want := layout.Load(), shm.Layout[T](); is != want {
			return errkind.As(ErrMismatch, fmt.Errorf("its layout has the number %#x, and that of %v has %#x: "+
				"attach it as the type that New was called with, or by Attach", is, reflect.TypeFor[T](), want))
		}
		return nil
	})
}
