// Package area makes heaps over a session's segments: dsa.Area whose segments are dsm's. It adds nothing to them
// but where the bytes come from: an area's segments are pinned while the area needs them, and mapped under the
// owner that is named here.
//
//	a, err := area.Create(ctx, session, session.Owner(), dsa.Options{})
//	p, err := a.Alloc(100)
//	b, err := a.Bytes(p)
//	send(area.Handle(a), p) // another process: area.Attach(ctx, session, owner, handle), and a.Bytes(p)
//
// When the owner ends, or the session, the area is detached first. What all sessions of an area leave behind that
// are killed together stays until a process attaches it and detaches, or the instance ends.
package area

import (
	"context"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/resowner"
	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/dsa"
)

// Create makes an area, and attaches it until owner ends. PostgreSQL's namesake is dsa_create.
func Create(ctx context.Context, s *dsm.Session, owner *resowner.Owner, o dsa.Options) (*dsa.Area, error) {
	return dsa.Create(ctx, Source(s, owner), s.Self(), o)
}

// Attach finds the area with that handle, and attaches it until owner ends. PostgreSQL's namesake is dsa_attach.
func Attach(ctx context.Context, s *dsm.Session, owner *resowner.Owner, h dsm.Handle) (*dsa.Area, error) {
	return dsa.Attach(ctx, Source(s, owner), s.Self(), uint64(h))
}

// Handle names the area for Attach; 0 for one in place.
func Handle(a *dsa.Area) dsm.Handle { return dsm.Handle(a.Handle()) }

// Source returns the session's segments, for areas in place too. Owner ends each attachment.
func Source(s *dsm.Session, owner *resowner.Owner) dsa.SegmentSource { return source{s, owner} }

type source struct {
	session *dsm.Session
	owner   *resowner.Owner
}

func (o source) Create(ctx context.Context, size int) (dsa.Segment, error) {
	return wrap(o.session.Create(ctx, o.owner, size))
}

func (o source) Attach(ctx context.Context, handle uint64) (dsa.Segment, error) {
	return wrap(o.session.Attach(ctx, o.owner, dsm.Handle(handle)))
}

func (o source) Unpin(ctx context.Context, handle uint64) error {
	return o.session.Unpin(ctx, dsm.Handle(handle))
}

// segment lends the bytes of its Segment's Region, which have a view of their own.
type segment struct {
	*dsm.Segment
	region shm.Region
}

func (g segment) Handle() uint64 { return uint64(g.Segment.Handle()) }

func (g segment) View() *shm.View { return g.region.View() }

func (g segment) With(f func(b []byte) error) error {
	return g.Segment.With(func([]byte) error {
		b, err := g.region.Bytes(0, g.region.Len())
		if err != nil {
			return err
		}
		return f(b)
	})
}

func wrap(g *dsm.Segment, err error) (dsa.Segment, error) {
	if err != nil {
		return nil, err
	}
	return segment{g, g.Region()}, nil
}
