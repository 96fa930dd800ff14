package dsm

import (
	"bytes"
	"context"
	"errors"
	"runtime/debug"
	"slices"

	"github.com/godsm/godsm/dsmimpl"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/instance"
)

// The root segment, which sessions find that know nothing of each other. The books say which segment it is
// (control.Root); this file makes one when there is none, and keeps one attachment of it for all callers of a session.

// Root returns this session's attachment of the instance's root segment: the one segment that unrelated sessions can
// find. The first call in the instance creates it, of size(max_segments) bytes, all zero; it is pinned and stays as
// long as the instance. If size is nil none is created, and it is ErrNotFound if there is none.
//
// All callers in a session get the same Segment. The session's end detaches it, and callers must not. Root waits for
// the control lock while ctx lasts. Package registry keeps the names in the root segment: a program that stores other
// data there cannot use package registry.
func (s *Session) Root(ctx context.Context, size func(segments int) int) (*Segment, error) {
	s.mu.Lock()
	g, over := s.root, s.err != nil
	s.mu.Unlock()
	if g != nil && !over {
		return g, nil
	}
	h, err := s.findRoot(ctx, 0)
	switch {
	case err == nil && h == 0 && size == nil:
		err = wrapErr("find the root", 0, s.backend(), ErrNotFound)
	case err == nil && h == 0:
		h, err = s.makeRoot(ctx, size(s.member.Books.Table.Limits.Segments))
	}
	if err != nil {
		return nil, err
	}
	if g, err = s.Attach(ctx, s.owner, h); err != nil {
		return nil, err
	}
	s.mu.Lock()
	// Two goroutines may have come here; both attached, and one of the Segments stays.
	first := s.root == nil
	if first {
		s.root = g
	}
	is := s.root
	s.mu.Unlock()
	if !first { // another goroutine was faster
		err = g.Detach()
	}
	return is, err
}

// makeRoot proposes a new segment as the root. If another session is faster, or this process dies before the books name
// it, the new segment has no other reference and is removed with its only attachment.
func (s *Session) makeRoot(ctx context.Context, size int) (Handle, error) {
	g, err := s.Create(ctx, s.owner, size)
	if err != nil {
		return 0, err
	}
	// A death here leaves a segment with one reference, of the dead session. Reclaim removes it.
	failpoint.Hit("dsm/root/made")
	h, err := s.findRoot(ctx, g.Handle())
	// A death here leaves the same and, if this segment has become the root, the instance's pin, which keeps it.
	failpoint.Hit("dsm/root/found")
	return h, errors.Join(err, g.Detach())
}

// findRoot returns the handle of the root segment. If there is none, it makes the candidate the root and pins it; a
// candidate of 0 leaves it at none, and h is 0.
func (s *Session) findRoot(ctx context.Context, candidate Handle) (h Handle, err error) {
	err = s.call(ctx, "find the root", candidate, func() error {
		_, needsKeeper := s.member.Books.Backend.(dsmimpl.Pinner)
		found, err := s.member.Self.Root(ctx, uint64(candidate), needsKeeper)
		if h = Handle(found); err == nil && needsKeeper && h != 0 {
			err = s.waitPinKept(ctx, h, func(why error) error { return why }) // the wish stays
		}
		return err
	})
	return h, err
}

// rootOf copies the bytes of the root segment, which is one of list, without a reference to it. It returns nil if
// there is none, and if its bytes can't be mapped or are gone while it copies.
func rootOf(ctx context.Context, b *instance.Books, list []SegmentInfo) (root []byte) {
	at := slices.IndexFunc(list, func(s SegmentInfo) bool { return s.Root })
	if at < 0 {
		return nil
	}
	// The list is a moment old: the row is read again, and may have become another segment's.
	s, err := b.Table.Segment(uint64(list[at].Handle))
	if err != nil || !s.Root || !s.Sound {
		return nil
	}
	m, err := b.Map(ctx, s.Entry, dsmimpl.ReadOnly)
	if err != nil {
		return nil
	}
	defer func() { _ = b.Unmap(m) }()
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		// Another process has truncated the object.
		if recover() != nil {
			root = nil
		}
	}()
	return bytes.Clone(instance.Part(m, &s.Entry))
}
