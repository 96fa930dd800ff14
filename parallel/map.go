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
	Next  dsm.Handle // of a counter: the first value that no worker has taken yet
	Arg   A
}

// Map makes f known to workers under a name, as Register does. It is called with one piece of a slice after the other,
// of which the first value stands at index at; the worker may change the values. T is a type that shm.SliceOf accepts. A
// function that closes its session, or ends its owner, gets no more pieces, and the run fails with ErrClosed: others may
// have had no time for the rest.
func Map[T, A any](name string, f func(ctx context.Context, w *Worker, arg A, at int, piece []T) error) *MapTask[T, A] {
	if f == nil {
		panic(fmt.Sprintf("parallel: task %q has no function", name))
	}
	return &MapTask[T, A]{Register(name, func(ctx context.Context, w *Worker, a mapArg[A]) error {
		values, err := attachSlice[T](ctx, w, a.Slice)
		if err != nil {
			return err
		}
		next, err := attachSlice[atomic.Int64](ctx, w, Slice{Segment: a.Next, Len: 1})
		if err != nil {
			return err
		}
		for {
			switch {
			case next.ended() || values.ended():
				return errLeft // by f: the counter can't be reached any more
			case ctx.Err() != nil:
				return context.Cause(ctx)
			}
			at := int(next.values[0].Add(int64(a.Piece))) - a.Piece
			switch {
			case next.ended() || values.ended():
				return errLeft // what was counted may be private pages
			case at >= len(values.values):
				return nil
			}
			piece := values.values[at:min(at+a.Piece, len(values.values))]
			if err := f(ctx, w, a.Arg, at, piece); err != nil {
				return err
			}
		}
	})}
}

// attached is a Slice in this process.
type attached[T any] struct {
	segment *dsm.Segment
	values  []T
}

func attachSlice[T any](ctx context.Context, w *Worker, s Slice) (a attached[T], err error) {
	if a.segment, err = w.Session.Attach(ctx, w.Owner, s.Segment); err == nil {
		a.values, err = shm.SliceOf[T](a.segment.Region(), s.At, s.Len)
	}
	return a, err
}

// ended reports whether the segment is detached. Then its values may not be touched, or are private.
func (a attached[T]) ended() bool { return a.segment.Bytes() == nil }

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
		return errors.New("parallel: Map: Options.Retries must be 0, since a dead worker's piece is lost")
	}
	if s.Len < 0 {
		return fmt.Errorf("parallel: Map: a slice of %d values: the number must not be negative", s.Len)
	}
	if m.task == nil || session == nil {
		return m.task.RunWith(ctx, session, o, mapArg[A]{}) // which says what is wrong
	}
	next, err := session.Create(ctx, session.Owner(), 8)
	if err != nil {
		return err
	}
	defer next.Detach()
	piece := max(1, s.Len/(max(1, o.Workers)*piecesEach))
	return m.task.RunWith(ctx, session, o, mapArg[A]{Slice: s, Piece: piece, Next: next.Handle(), Arg: arg})
}
