package batch

import (
	"context"
	"sync"
	"time"
)

// A queue is a list of calls in the order in which they were handed in. The first of them, as many as there is room
// for, are admitted; the rest wait for that. Withdrawn calls stay in the list until the worker meets them, and leave
// their room at once.
type queue[Cmd, Res any] struct {
	wake chan struct{} // has a value when there may be work

	mu       sync.Mutex
	list     []*call[Cmd, Res] // list[head:]
	head     int
	room     int
	admitted int // calls in the list that are admitted: its first ones
	gone     int // of these, the withdrawn ones
	full     Full
	closed   bool
}

// handIn hands in a call. A call that is not admitted yet has been put all the same; if its caller waits for that, put returns
// the call's admit.
func (q *queue[Cmd, Res]) handIn(c *call[Cmd, Res], waits bool) (admit chan struct{}, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return nil, ErrClosed
	}
	if q.full == Fail && q.admitted-q.gone >= q.room && !c.fence {
		return nil, ErrFull
	}
	c.queued = true
	q.list = append(q.list, c)
	q.admitLocked()
	if waits && !c.admitted {
		c.admit = make(chan struct{})
	}
	q.wakeWorker()
	return c.admit, nil
}

// wakeWorker wakes the worker.
func (q *queue[Cmd, Res]) wakeWorker() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// admitLocked admits those for whom there is room, under mu.
func (q *queue[Cmd, Res]) admitLocked() {
	for q.admitted < len(q.list)-q.head && q.admitted-q.gone < q.room {
		c := q.list[q.head+q.admitted]
		c.admitted = true
		q.admitted++
		if c.state.Load() == withdrawn {
			q.gone++
		}
		if c.admit != nil {
			close(c.admit)
		}
	}
}

// withdraw tries the move from waiting to withdrawn, and reports whether it was made.
func (q *queue[Cmd, Res]) withdraw(c *call[Cmd, Res]) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	admitted := c.queued && c.admitted // read first: after the move the call may be the worker's
	if !c.move(waiting, withdrawn) {
		return false
	}
	if admitted {
		q.gone++
		q.admitLocked()
	}
	return true
}

// take appends to calls those that go into the next flush, and to gone those that were withdrawn or whose own context
// has ended.
func (q *queue[Cmd, Res]) take(calls, gone []*call[Cmd, Res], rows, bytes int) (_, _ []*call[Cmd, Res]) {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := len(calls)
	for ; q.head < len(q.list); q.head++ {
		c := q.list[q.head]
		if len(calls)-n == rows || len(calls) > n && c.size > bytes {
			break
		}
		if c.admitted {
			q.admitted--
			if c.state.Load() == withdrawn {
				q.gone--
			}
		}
		q.list[q.head] = nil
		c.queued, c.admitted = false, false
		if c.admit != nil {
			select {
			case <-c.admit:
			default:
				close(c.admit)
			}
		}
		switch {
		case c.ctx != nil && c.ctx.Err() != nil && c.move(waiting, withdrawn), !c.move(waiting, taken):
			gone = append(gone, c)
		default:
			bytes -= c.size
			calls = append(calls, c)
		}
	}
	if q.head == len(q.list) {
		q.list, q.head = q.list[:0], 0
	} else if q.head > 1024 && q.head > len(q.list)/2 {
		n := copy(q.list, q.list[q.head:])
		clear(q.list[n:])
		q.list, q.head = q.list[:n], 0
	}
	q.admitLocked()
	return calls, gone
}

// withdrawEnded withdraws the calls whose own context has ended, and appends them to calls. They stay in the list.
func (q *queue[Cmd, Res]) withdrawEnded(calls []*call[Cmd, Res]) []*call[Cmd, Res] {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, c := range q.list[q.head:] {
		if c.ctx != nil && c.ctx.Err() != nil && c.move(waiting, withdrawn) {
			if c.admitted {
				q.gone++
			}
			calls = append(calls, c)
		}
	}
	q.admitLocked()
	return calls
}

// close lets no more calls in, and returns those that were not admitted.
func (q *queue[Cmd, Res]) close() (refused []*call[Cmd, Res]) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return nil
	}
	q.closed = true
	for _, c := range q.list[q.head+q.admitted:] {
		c.queued = false
		if c.move(waiting, taken) {
			refused = append(refused, c)
		}
	}
	clear(q.list[q.head+q.admitted:])
	q.list = q.list[:q.head+q.admitted]
	q.wakeWorker()
	return refused
}

// state returns how many calls wait, since when the first of them does, and whether the queue is closed.
func (q *queue[Cmd, Res]) state() (waiting int, since time.Time, closed bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.head < len(q.list) {
		since = q.list[q.head].since
	}
	return len(q.list) - q.head - q.gone, since, q.closed
}

// awaitWork waits for work, and for the linger after the first of it. It reports whether there is work: not when the queue is
// closed and empty, or the context has ended.
func (q *queue[Cmd, Res]) awaitWork(ctx context.Context, linger time.Duration, rows int) bool {
	for {
		n, since, closed := q.state()
		if n > 0 {
			if rest := linger - time.Since(since); rest > 0 && n < rows && !closed {
				timer := time.NewTimer(rest)
				select {
				case <-timer.C:
				case <-q.wake:
				case <-ctx.Done():
				}
				timer.Stop()
				if ctx.Err() == nil {
					continue
				}
			}
			return ctx.Err() == nil
		}
		if closed {
			return false
		}
		select {
		case <-q.wake:
		case <-ctx.Done():
			return false
		}
	}
}
