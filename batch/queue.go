package batch

import (
	"context"
	"runtime"
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
	busy     bool // a flush is under way, the worker's or a caller's own
	held     int  // callers that hand in several commands at once, of which the rest is to come
	expected int  // commands that will wait again soon, as the last flushes say
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

// enter begins a flush of one call, without the worker, if nothing is under way, nothing waits, and no other caller is expected.
// It reports whether it did.
func (q *queue[Cmd, Res]) enter(c *call[Cmd, Res]) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed || q.busy || q.held > 0 || q.head < len(q.list) || q.expected > 1 {
		return false
	}
	q.busy = true
	return c.move(waiting, taken)
}

// hold, with 1, keeps the worker from a flush until hold is called with -1.
func (q *queue[Cmd, Res]) hold(n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.held += n
	q.wakeWorker()
}

// expect notes how many commands a flush is about to answer. As many will wait again soon, with those that wait already. It forgets
// slowly, since callers may be on their way while neither is true of them.
func (q *queue[Cmd, Res]) expect(answered int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.expected = max(answered+len(q.list)-q.head-q.gone, q.expected*3/4)
}

// leave ends the flush that take or enter has begun.
func (q *queue[Cmd, Res]) leave() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.busy = false
	if q.closed || q.head < len(q.list) {
		q.wakeWorker()
	}
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

// take begins a flush: it appends to calls those that go into it, and to gone those that were withdrawn or whose own context has
// ended.
func (q *queue[Cmd, Res]) take(calls, gone []*call[Cmd, Res], rows, bytes int) (_, _ []*call[Cmd, Res]) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.busy = true
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

// awaitWork waits for work, for the end of a caller's own flush, and for the linger after the first of the work. It reports
// whether there is work: not when the queue is closed and empty, or the context has ended. No flush is under way then.
func (q *queue[Cmd, Res]) awaitWork(ctx context.Context, linger time.Duration, rows int) bool {
	for {
		n, since, closed := q.state()
		switch {
		case q.isBusy(rows):
			<-q.wake // a caller's flush ends with the context, too, and no caller holds for long
		case ctx.Err() != nil, n == 0 && closed:
			return false
		case n == 0:
			select {
			case <-q.wake:
			case <-ctx.Done():
			}
		case closed || n >= rows || time.Since(since) >= linger:
			return true
		default:
			timer := time.NewTimer(linger - time.Since(since))
			select {
			case <-timer.C:
			case <-q.wake:
			case <-ctx.Done():
			}
			timer.Stop()
		}
	}
}

// isBusy reports whether a caller's own flush is under way, or a caller is about to hand in more: not if there are as many
// as rows or as there is room for, or the queue is closed. So callers that hand in again and again hold up no flush for ever.
func (q *queue[Cmd, Res]) isBusy(rows int) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.busy || q.held > 0 && !q.closed && len(q.list)-q.head-q.gone < min(rows, q.room)
}

// How long gather waits: a part of the time of the last flush, at most a millisecond, and a part of that while nothing comes. It
// waits for no more commands than gathers: what they cost by themselves is more by then than what another flush costs.
const (
	gatherPart = 8
	mostGather = time.Millisecond
	restPart   = 8
	gathers    = 128
)

// gather lets callers run that the last flush has answered, until as many commands wait as are expected, or rows, or no more
// come. Callers that hand in one command after another would be in two halves otherwise, of which one waits while the other one's
// flush is under way. took is the time of the last flush. A lone caller is not delayed: its command is all that is expected.
func (q *queue[Cmd, Res]) gather(rows int, took time.Duration) {
	began, last, most, n := time.Now(), time.Now(), min(took/gatherPart, mostGather), 0
	for {
		more, enough := q.gathered(rows)
		if enough {
			return
		}
		now := time.Now()
		if more > n {
			n, last = more, now
		}
		if now.Sub(last) > most/restPart || now.Sub(began) > most {
			return
		}
		runtime.Gosched()
	}
}

// gathered returns how many commands wait, and whether these are enough for a flush.
func (q *queue[Cmd, Res]) gathered(rows int) (n int, enough bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	n = len(q.list) - q.head - q.gone
	return n, n >= min(q.expected, rows, gathers) || q.closed
}
