package parallel

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/shm"
)

// Slice names Len values that lie in a segment, from At on.
type Slice struct {
	Segment dsm.Handle
	At      shm.Offset
	Len     int
}

// MapTask is a function that workers run over the pieces of a slice.
type MapTask[T, A any] struct{ task *Task[mapArg[A]] }

type mapArg[A any] struct {
	Slice Slice
	Piece int        // values in a piece
	Next  dsm.Handle // of a counter: the first value that nobody has taken yet
	Arg   A
}

// Map makes f known to workers under a name, as Register does. It is called with one piece of a slice after the other,
// of which the first value stands at index at; the worker may change the values. T is a type that shm.SliceOf accepts.
func Map[T, A any](name string, f func(ctx context.Context, w *Worker, arg A, at int, piece []T) error) *MapTask[T, A] {
	return &MapTask[T, A]{Register(name, func(ctx context.Context, w *Worker, a mapArg[A]) error {
		values, err := attachSlice[T](ctx, w, a.Slice)
		if err != nil {
			return err
		}
		next, err := attachSlice[atomic.Int64](ctx, w, Slice{Segment: a.Next, Len: 1})
		if err != nil {
			return err
		}
		for ctx.Err() == nil {
			at := int(next[0].Add(int64(a.Piece))) - a.Piece
			if at >= len(values) {
				return nil
			}
			if err := f(ctx, w, a.Arg, at, values[at:min(at+a.Piece, len(values))]); err != nil {
				return err
			}
		}
		return context.Cause(ctx)
	})}
}

func attachSlice[T any](ctx context.Context, w *Worker, s Slice) ([]T, error) {
	g, err := w.Session.Attach(ctx, w.Owner, s.Segment)
	if err != nil {
		return nil, err
	}
	return shm.SliceOf[T](g.Region(), s.At, s.Len)
}

// piecesEach is how many pieces there are for each worker: many, so that one which is slow, or
// late, leaves more to the others.
const piecesEach = 64

// Run runs the function over s, in so many workers, as Task.Run does. A worker that dies fails
// it, and which pieces were done then is not known.
func (m *MapTask[T, A]) Run(ctx context.Context, session *dsm.Session, workers int, s Slice, arg A) error {
	return m.RunWith(ctx, session, Options{Workers: workers}, s, arg)
}

// RunWith is Run with options. A worker that died is not replaced: the piece in its hands would be lost.
func (m *MapTask[T, A]) RunWith(ctx context.Context, session *dsm.Session, o Options, s Slice, arg A) error {
	if o.Retries != 0 {
		return errors.New("parallel: Map has no retries")
	}
	if s.Len < 0 {
		return fmt.Errorf("parallel: a slice of %d values", s.Len)
	}
	next, err := session.Create(ctx, session.Owner(), 8)
	if err != nil {
		return err
	}
	defer next.Detach()
	piece := max(1, s.Len/(max(1, o.Workers)*piecesEach))
	return m.task.RunWith(ctx, session, o, mapArg[A]{Slice: s, Piece: piece, Next: next.Handle(), Arg: arg})
}
