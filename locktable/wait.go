package locktable

import (
	"context"
	"errors"
	"time"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/sys/fault"
	"github.com/godsm/godsm/shm/roster"
	"github.com/godsm/godsm/shm/shmsync"
	"github.com/godsm/godsm/shm/waitqueue"
)

// bit is a place in the session's mailbox, if it has one.
type bit struct {
	b     shmsync.Bit
	taken bool
}

func (b *bit) take(t *Table) {
	if t.self.Mailbox != nil && !b.taken {
		b.b, b.taken = t.self.Mailbox.Take(), true
	}
}

func (b *bit) number() uint32 { return b.b.Number() }

func (b *bit) release() {
	if b.taken {
		b.b.Release()
		b.taken = false
	}
}

// sleep waits until the bit is rung, for d at most, and reports whether it was. Without a mailbox it naps.
func (b *bit) sleep(ctx context.Context, d time.Duration) (rung bool) {
	if !b.taken {
		d = min(d, time.Millisecond)
	}
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	if b.taken {
		return b.b.Wait(ctx) == nil
	}
	<-ctx.Done()
	return false
}

const (
	// lookEvery is how often the first in the queue looks whether who is in its way lives, and whether a waiter that was
	// called has come. The second looks half as often, and so on, up to once in lookAtLeast.
	lookEvery   = 5 * time.Millisecond
	lookAtLeast = time.Second
	tellAfter   = time.Second
)

// sleepFor returns how long the waiter sleeps without being rung.
func (w *waiter) sleepFor() time.Duration {
	d := min(time.Duration(w.ahead+1)*lookEvery, lookAtLeast)
	if w.due > 0 && w.ahead < 2 { // of many who wait behind one that does not come, one is enough to see that
		d = min(d, w.due)
	}
	waited := time.Since(w.began)
	if after := w.t.o.DeadlockAfter; after > 0 && waited < after {
		d = min(d, after-waited)
	}
	if waited < tellAfter && w.t.o.OnWait != nil {
		d = min(d, tellAfter-waited)
	}
	return d
}

// noteBlockersLocked notes, for a waiter that has not got the lock, who is in its way. It runs under the partition's
// lock.
func (w *waiter) noteBlockersLocked(u *turn) {
	w.ahead, w.due = u.q.AheadLocked(waitqueue.Ref(w.ref)), u.q.DueLocked(waitqueue.Ref(w.ref))
	w.dead = w.dead[:0]
	u.q.WantLocked(w.mode, w.own, rowOf, func(row int) {
		if len(w.dead) < 16 {
			w.dead = append(w.dead, row)
		}
	})
}

// wait waits for the lock. If it fails the waiter is not in the queue any more, or will be out of it soon.
func (w *waiter) wait(ctx context.Context) error {
	defer w.bit.release()
	check := w.began.Add(w.t.o.DeadlockAfter) // when a cycle is looked for next
	for {
		failpoint.Hit("locktable/wait/asleep")
		rung := w.bit.sleep(ctx, w.sleepFor())
		failpoint.Hit("locktable/wait/woken")
		in, err := w.takeIfTurn(ctx, rung || w.isCalled())
		if in && err == nil {
			return nil
		}
		waited := time.Since(w.began)
		var cycle []Edge
		switch {
		case w.t.view.Ended():
			w.cancel()
			return w.t.closed()
		case ctx.Err() != nil:
			err = context.Cause(ctx)
		case errors.Is(err, ErrCorrupt):
		default:
			err = nil
			w.t.sweepDead(ctx, w.dead)
			if after := w.t.o.DeadlockAfter; after > 0 && !time.Now().Before(check) {
				check = time.Now().Add(4 * after)
				mine := func(ref roster.Ref) bool { return ref == w.ref }
				if cycle = w.t.deadlock(w.h.number(), mine); cycle != nil {
					err = ErrDeadlock
				}
			}
			if waited >= tellAfter && !w.told && w.t.o.OnWait != nil {
				w.told = true
				w.t.callOnWait(w.explain(nil))
			}
		}
		if err != nil {
			e := w.explain(err)
			e.Cycle = cycle
			w.cancel()
			return e
		}
	}
}

// isCalled reports whether it may be the waiter's turn: it was called, or has been passed over.
func (w *waiter) isCalled() (called bool) {
	rec := w.rec
	_ = w.t.withOwnRecords(func() { called = rec.Called() != 0 || rec.Passed() })
	return called
}

// takeIfTurn takes the lock, for a waiter that runs, if its turn has come. One that was not called does not wait for
// the partition's lock, which those that were called need, but each fourth time: then it sees that a holder of that
// lock is dead.
func (w *waiter) takeIfTurn(ctx context.Context, called bool) (in bool, err error) {
	t, h := w.t, w.h
	defer t.answer(&err, fault.Catch())
	var u *turn
	if w.looks++; called || w.looks%4 == 0 {
		u, err = t.enter(ctx, h.partition())
	} else {
		u, err = t.tryEnter(h.partition(), 0)
	}
	if err != nil {
		return false, err
	}
	defer u.leave()
	q := u.queue(h.head, h.n)
	q.ComeLocked(w.rec)
	failpoint.Hit("locktable/accept/come")
	if in = q.FitsLocked(w.rec.State().Mode(), w.countedBefore(), w.own); in {
		w.enterLocked(u)
		failpoint.Hit("locktable/accept/in")
		if w.own == 0 {
			w.hold(u)
		}
	} else {
		w.noteBlockersLocked(u)
	}
	u.callWaiters()
	u.markDone()
	return in, nil
}

// countedBefore returns the record before which others count: all, for one that upgrades.
func (w *waiter) countedBefore() waitqueue.Ref { return waitqueue.Ref(w.ref) }

// enterLocked makes the waiter a holder. It runs under the partition's lock.
func (w *waiter) enterLocked(u *turn) {
	h, rec := w.h, w.rec
	if w.own != 0 {
		h.convertLocked(rec.State().Mode())
		w.leaveLocked(u)
		return
	}
	word := waitqueue.HoldOf(u.t.self.Row, h.mode, h.number(), u.t.number())
	if h.inRecord || !u.q.PlaceLocked(word) {
		rec.Since.Store(u.q.Now)
		rec.Word.Store(uint64(rec.State().With(waitqueue.Held)))
		h.ref, h.rec = w.ref, rec
		w.rec = nil
		return
	}
	failpoint.Hit("locktable/accept/placed")
	h.word = word
	w.leaveLocked(u)
}

// leaveLocked ends the waiter's record. It runs under the partition's lock.
func (w *waiter) leaveLocked(u *turn) {
	rec, ref := w.rec, w.ref
	w.rec = nil
	rec.Word.Store(uint64(rec.State().With(waitqueue.Gone)))
	failpoint.Hit("locktable/leave/gone")
	u.q.LeaveLocked(rec)
	rec.Word.Store(0)
	u.t.roster.Give(ref)
}

// cancel ends the wait. It does not wait for a process that is stopped in the table: what is left to do is done later.
func (w *waiter) cancel() {
	if w.rec == nil {
		return
	}
	rec, ref, head, n := w.rec, w.ref, w.h.head, w.h.n
	w.rec = nil
	if w.t.voidRecord(rec) != nil {
		return // Close has swept it, or does
	}
	failpoint.Hit("locktable/cancel/gone")
	w.t.unlinkRecordSoon(w.h.partition(), head, n, ref, rec, 0)
}

// explain says what the waiter waits for.
func (w *waiter) explain(err error) *WaitError {
	e := &WaitError{Name: w.h.key.String(), Mode: w.mode, Err: err, Waited: time.Since(w.began), Ahead: w.ahead}
	return w.t.explainWait(e, w.h.key)
}

// callOnWait calls OnWait, whose panic ends nothing but the call.
func (t *Table) callOnWait(e *WaitError) {
	go func() {
		defer func() { _ = recover() }()
		t.o.OnWait(*e)
	}()
}
