package shared

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/godsm/godsm/batch"
	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/shm/shmsync"
)

// A Future is the outcome of a command that was handed in by Submit.
type Future[Res any] struct {
	done chan struct{}
	res  Res
	err  error
}

// Done returns a channel that is closed when the outcome is known.
func (f *Future[Res]) Done() <-chan struct{} { return f.done }

// Wait waits for the outcome until the context ends. Its end does not withdraw the command: Wait then returns a
// [batch.Error] that says Maybe, and may be called again.
func (f *Future[Res]) Wait(ctx context.Context) (Res, error) {
	select {
	case <-f.done:
		return f.res, f.err
	case <-ctx.Done():
		var none Res
		return none, &batch.Error{Executed: batch.Maybe, Err: context.Cause(ctx)}
	}
}

// Submit hands in a command and returns its future. It blocks while there is no room, unless Options.Full is Fail. If the
// context ends before a leader has taken the command, it is withdrawn.
func (q *Queue[Cmd, Res]) Submit(ctx context.Context, cmd Cmd) *Future[Res] {
	f := &Future[Res]{done: make(chan struct{})}
	at, err := q.fillFreeSlot(ctx, cmd)
	if err != nil {
		f.err = &batch.Error{Err: err}
		close(f.done)
		return f
	}
	go func() {
		defer close(f.done)
		f.res, f.err = q.awaitDone(ctx, at.slot, at.bit)
	}()
	return f
}

// fillFreeSlot puts a command into a slot, from free to ready.
func (q *Queue[Cmd, Res]) fillFreeSlot(ctx context.Context, cmd Cmd) (at place, err error) {
	if q.m == nil { // the zero Queue
		return at, errClosed
	}
	if ctx.Err() != nil {
		return at, context.Cause(ctx)
	}
	buf := q.buffers.Get().(*[]byte)
	defer q.buffers.Put(buf)
	b, err := appendTo(q.commands, (*buf)[:0], cmd)
	*buf = b[:0]
	switch {
	case err != nil:
		return at, err
	case len(b) > q.m.shape.command:
		return at, errkind.As(ErrSize, fmt.Errorf("a command of %d bytes: the queue was made for %d; raise Options.Command", len(b), q.m.shape.command))
	}
	if at, err = q.own.acquire(ctx, q.options.Full); err != nil {
		return at, err
	}
	stream, _ := ctx.Value(streamKey{}).(uint64)
	return at, q.m.contained(func() error { return q.fill(at, stream, b) }) // after an error the slot is not used again: its state is not known
}

// fill stores a command in a slot of this session's in the shared bytes, for enter.
func (q *Queue[Cmd, Res]) fill(at place, stream uint64, b []byte) error {
	m, slot := q.m, at.slot
	s := &m.slots[slot]
	w := s.load()
	number := s.number.Load() + 1
	if w.state() != free || !s.move(w, use(taken, number)) {
		return fmt.Errorf("a slot of this session is %v and not free: %w", w.state(), errGarbled)
	}
	failpoint.Hit("batch/submit/taken")
	s.number.Store(number)
	s.order.Store(at.order)
	s.stream.Store(stream)
	s.since.Store(time.Now().UnixNano())
	s.bit.Store(at.bit.Number())
	s.deaths.Store(0)
	s.alone.Store(0)
	s.kind.Store(0)
	s.length.Store(uint32(len(b)))
	s.sum.Store(sumOf(number, b))
	copy(m.commands[slot*m.shape.command:], b)
	failpoint.Hit("batch/submit/written")
	if !s.move(use(taken, number), use(ready, number)) {
		return errGarbled
	}
	failpoint.Hit("batch/submit/ready")
	m.markReady(slot)
	failpoint.Hit("batch/submit/marked")
	m.wakeLeader()
	return nil
}

// awaitDone waits until a command is done, or withdraws it.
func (q *Queue[Cmd, Res]) awaitDone(ctx context.Context, slot int, bit shmsync.Bit) (res Res, err error) {
	s := &q.m.slots[slot]
	for {
		ended := bit.Wait(ctx) // a ring of the slot's former use ends it early
		isDone, isOver := false, q.over.Load()
		if err := q.m.contained(func() error { isDone = s.load().state() == done; return nil }); err != nil {
			return res, &batch.Error{Executed: batch.Maybe, Err: err}
		}
		switch {
		case isDone:
			return q.takeOutcome(slot)
		case ctx.Err() != nil || isOver:
			withdrawn, err := q.withdraw(slot)
			why := context.Cause(ctx)
			if isOver {
				why = errClosed
			}
			switch {
			case err != nil:
				return res, &batch.Error{Executed: batch.Maybe, Err: err}
			case withdrawn:
				return res, &batch.Error{Executed: batch.No, Err: why}
			}
			if err = q.m.contained(func() error { isDone = s.load().state() == done; return nil }); err == nil && isDone {
				return q.takeOutcome(slot)
			}
			if !isOver {
				go q.reap(slot, bit)
			}
			return res, &batch.Error{Executed: batch.Maybe, Err: why}
		}
		if ended != nil {
			return res, &batch.Error{Executed: batch.Maybe, Err: ended}
		}
	}
}

// withdraw takes a command back that no leader has taken.
func (q *Queue[Cmd, Res]) withdraw(slot int) (withdrawn bool, err error) {
	s := &q.m.slots[slot]
	err = q.m.contained(func() error {
		number := s.number.Load()
		if !s.move(use(ready, number), use(taken, number)) {
			return nil
		}
		failpoint.Hit("batch/submit/withdrawn")
		withdrawn = s.move(use(taken, number), use(free, number))
		return nil
	})
	if withdrawn {
		q.own.release(slot)
	}
	return withdrawn, err
}

// reap frees a slot when it is done whose caller has left.
func (q *Queue[Cmd, Res]) reap(slot int, bit shmsync.Bit) {
	s := &q.m.slots[slot]
	for !q.over.Load() {
		isDone := false
		if q.m.contained(func() error { isDone = s.load().state() == done; return nil }) != nil {
			return
		}
		if isDone {
			_, _ = q.takeOutcome(slot)
			return
		}
		if bit.Wait(q.ctx) != nil {
			return
		}
	}
}

// takeOutcome takes the outcome of a command that is done, and frees the slot.
func (q *Queue[Cmd, Res]) takeOutcome(slot int) (res Res, err error) {
	buf := q.buffers.Get().(*[]byte)
	defer q.buffers.Put(buf)
	var kind uint32
	var b []byte
	if gone := q.m.contained(func() error {
		kind, b, err = q.m.loadResult(slot, *buf)
		failpoint.Hit("batch/submit/read")
		s := &q.m.slots[slot]
		number := s.number.Load()
		if !s.move(use(done, number), use(free, number)) {
			return errGarbled
		}
		failpoint.Hit("batch/submit/freed")
		return nil
	}); gone != nil {
		return res, &batch.Error{Executed: batch.Maybe, Err: gone}
	}
	q.own.release(slot)
	switch {
	case err != nil:
		return res, err
	case kind == failure:
		return res, parseFailure(b)
	case kind == missing:
		return res, &batch.Error{Executed: batch.Yes, Err: ErrResult}
	case kind != value:
		return res, &batch.Error{Executed: batch.Maybe, Err: errGarbled}
	}
	if res, err = parse(q.results, b); err != nil {
		return res, &batch.Error{Executed: batch.Yes, Err: errors.Join(ErrResult, err)}
	}
	return res, nil
}
