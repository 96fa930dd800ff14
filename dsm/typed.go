package dsm

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/godsm/godsm/resowner"
	"github.com/godsm/godsm/shm"
)

// New makes a segment that holds one T, all zero, and attaches it, as Session.Create does. It returns the T in place: a
// store through the pointer is seen by every session that has the segment attached, so accesses want atomics or a lock.
// T is a type that may lie in shared memory; any other is an error that names the field (see shm.Check). Other
// processes attach the segment by AttachAs, which compares its size, and the number of T's layout (shm.Layout) that New
// stores behind the T.
//
//	stats, seg, err := dsm.New[Stats](ctx, s, nil)
//	stats.Hits.Add(1)           // Hits is an atomic.Int64
//	send(seg.Handle())          // another process: dsm.AttachAs[Stats](ctx, s, nil, handle)
//
// The pointer is valid until the Segment is detached or the session closed. What the process still does through it
// then reaches no other process, as with Segment.Region.
func New[T any](ctx context.Context, s *Session, owner *resowner.Owner) (*T, *Segment, error) {
	if err := shm.Check[T](); err != nil {
		return nil, nil, wrapErr("create", 0, s.backend(), err)
	}
	g, err := s.makeSegment(ctx, owner, typedSize[T]())
	if err != nil {
		return nil, nil, s.errOfCreate(typedSize[T](), err)
	}
	// No other process has the handle yet, so none finds the segment without the number.
	return typed[T](g, "create", func(layout *atomic.Uint64) error {
		layout.Store(shm.Layout[T]())
		return nil
	})
}

// typedLayoutAt returns the offset of the number of T's layout in a segment of New: behind the T, at a multiple of 8. The
// segment ends with it, so one of another type has another size or, as a rule, another number there.
func typedLayoutAt[T any]() int { return (shm.Size[T]() + 7) &^ 7 }

// typedSize returns the size of a segment that New makes for a T. It is never 0, as the size of T may be.
func typedSize[T any]() int { return typedLayoutAt[T]() + 8 }

// typed returns the T that g holds and calls f with the word behind it, which has the number of T's layout. If f fails,
// or if the bytes are gone, it detaches g and returns an error for op.
//
// It uses the Region of g, not its Bytes, so that what a program does with the T after the end reaches no other process.
// The call of f is inside With, since the segment may be truncated: nothing has been loaded from it before.
func typed[T any](g *Segment, op string, f func(layout *atomic.Uint64) error) (*T, *Segment, error) {
	r := g.Region()
	v, err := shm.At[T](r, 0)
	if err == nil {
		err = g.With(func([]byte) error {
			layout, err := shm.At[atomic.Uint64](r, shm.Offset(typedLayoutAt[T]()))
			if err == nil {
				err = f(layout)
			}
			return err
		})
	}
	// The segment may have been detached meanwhile, by the end of its owner or of the session.
	if err = r.View().Answer(err); err != nil {
		return nil, nil, errors.Join(g.fail(op, err), g.Detach())
	}
	return v, g, nil
}
