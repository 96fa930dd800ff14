package dsm

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/godsm/godsm/dsmimpl"
)

// Pin makes the instance hold the segment too: it stays until Unpin or the end of the instance, regardless of which
// sessions have it attached. Pinning twice is the same as once.
//
// Pin waits for the control lock while ctx lasts. Where an object lasts only as long as a process has it open
// (Windows), Pin also waits for the supervisor to open it, and is ErrNoInstance if there is none. If that supervisor
// dies, a pinned segment that no session has attached is gone.
func (g *Segment) Pin(ctx context.Context) error {
	if g.attachment == nil {
		return g.fail("pin", g.errDetachedAt())
	}
	s := g.sessionOf()
	return s.call(ctx, "pin", g.Handle(), func() error {
		if err := g.errIfDetached(); err != nil {
			return err
		}
		_, needsKeeper := s.member.Books.Backend.(dsmimpl.Pinner)
		err := s.member.Self.Pin(ctx, uint64(g.Handle()), needsKeeper)
		if err == nil && needsKeeper {
			err = s.waitPinKept(ctx, g.Handle(), func(why error) error {
				// Attached here, so never the last.
				_, _, err := s.member.Self.Unpin(context.WithoutCancel(ctx), uint64(g.Handle()))
				return errors.Join(why, err)
			})
		}
		if gone := g.errIfDetached(); err != nil && gone != nil { // meanwhile
			return gone
		}
		return err
	})
}

// Unpin takes the instance's reference to this segment away, as Session.Unpin does. The attachment stays.
func (g *Segment) Unpin(ctx context.Context) error {
	if g.attachment == nil {
		return g.fail("unpin", g.errDetachedAt())
	}
	return g.sessionOf().Unpin(ctx, g.Handle())
}

// waitPinKept waits until the supervisor keeps a segment's object open. It asks once a millisecond. If there is no
// supervisor, or ctx ends first, it calls undo with the reason and returns what that returns. If another session takes
// the pin away it returns without an error.
func (s *Session) waitPinKept(ctx context.Context, h Handle, undo func(why error) error) error {
	for {
		switch awaits, err := s.member.Books.Table.AwaitsKeeper(uint64(h)); {
		case !awaits || err != nil: // kept, or unpinned by another session
			return err
		case !s.member.Books.Supervised():
			return undo(fmt.Errorf("%w to keep it", ErrNoInstance))
		}
		select {
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
			return undo(context.Cause(ctx))
		}
	}
}

// Unpin takes the instance's reference to a segment away, regardless of which session pinned it and whether it is
// attached here. If that was the last reference the segment is removed before Unpin returns. A handle that is not live,
// or not pinned, is ErrNotFound. Unpin waits for the control lock while ctx lasts. Functions of OnDetach may call it in
// a session that closes, too.
func (s *Session) Unpin(ctx context.Context, h Handle) error {
	err := s.beginCallUnless(ctx, s.endedForUnpinLocked)
	if err == nil {
		err = s.unpin(ctx, h)
		s.endCall()
	}
	return wrapErr("unpin", h, s.backend(), err)
}

// unpin drops the instance's reference. The one that drops the last reference removes the object; if this process dies
// before that, the row is destroying, and the next reclaim or start removes it.
func (s *Session) unpin(ctx context.Context, h Handle) error {
	entry, last, err := s.member.Self.Unpin(ctx, uint64(h))
	if last {
		err = s.member.Destroy(ctx, entry)
	}
	return err
}

// endedForUnpinLocked returns why no Unpin may begin, nil if one may: the same as endedLocked, but for a session that
// is closing and has not left. The caller holds Session.mu.
func (s *Session) endedForUnpinLocked() error {
	if err := s.endedLocked(); err != ErrClosed || s.state == sessionLeft {
		return err
	}
	return nil
}
