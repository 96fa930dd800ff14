package locktable

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/sys/fault"
	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/roster"
	"github.com/godsm/godsm/shm/shmsync"
	"github.com/godsm/godsm/shm/waitqueue"
)

// Lock waits until it has the lock of a path in a mode, or ctx is over. A path has 1 to 4 parts of 1 to 255 bytes, and
// what it names is whatever the programs that use the table take it for. Each parent of the path is held in an intent
// mode meanwhile: who has "layers" Exclusive excludes those who have ("layers", X) in any mode.
//
// Who waits longest is first, but for those who run and take a free lock in the first millisecond; readers that are next
// to each other go together. A wait that ends without the lock is a *WaitError, which names the holders. One that
// waits in a cycle of owners ends with ErrDeadlock, and keeps what it holds besides. An owner that has the lock gets
// ErrSelf.
func (t *Table) Lock(ctx context.Context, m Mode, path ...string) (Hold, error) {
	return t.lock(ctx, m, path, false)
}

// TryLock is Lock for one that does not wait: a lock that is held is a *WaitError that matches ErrHeld. It waits 50 us
// at most for each part of the table that another process is at; if that was not enough it is ErrBusy, and the lock
// may be free.
func (t *Table) TryLock(ctx context.Context, m Mode, path ...string) (Hold, error) {
	return t.lock(ctx, m, path, true)
}

func (t *Table) lock(ctx context.Context, m Mode, path []string, try bool) (Hold, error) {
	if t.view.Ended() {
		return Hold{}, t.closed()
	}
	n, set, near := t.names.find(path)
	if n != nil {
		return n.lock(ctx, m, try)
	}
	h := t.pool.Get().(*hold)
	k, err := encode(h.buf[:0], path)
	if err == nil {
		ident := hash(k.b, t.seed)
		if err = t.lockKey(ctx, h, k, ident, m, try); noRoom(err) && t.names.releaseUnused() {
			err = t.lockKey(ctx, h, k, ident, m, try)
		}
	}
	if err == nil && set.noteMiss(near) && h.alone {
		t.keepName(h, path, set, near)
	}
	return h.given(err)
}

// noRoom reports whether a lock was not had for want of memory, of which idle names have some.
func noRoom(err error) bool {
	return err != nil && (errors.Is(err, ErrNoMemory) || errors.Is(err, ErrFull))
}

// lockAs does what lock does, of a path that is encoded already.
func (t *Table) lockAs(ctx context.Context, k key, ident uint64, m Mode, try bool) (Hold, error) {
	h := t.pool.Get().(*hold)
	k.b = append(h.buf[:0], k.b...)
	return h.given(t.lockKey(ctx, h, k, ident, m, try))
}

// given returns what the caller gets of a hold that is locked, or is not because of err.
func (h *hold) given(err error) (Hold, error) {
	if err != nil {
		h.recycle()
		return Hold{}, err
	}
	return Hold{h, h.seq.Load()}, nil
}

// lockKey locks a name for h, which is as recycle leaves it. If it fails h is so again.
func (t *Table) lockKey(ctx context.Context, h *hold, k key, ident uint64, m Mode, try bool) error {
	if m < IntentShared || m > Exclusive {
		return invalid("mode %d", m)
	}
	h.key, h.ident, h.mode = k, ident, m
	s := t.scopeOf(ctx)
	if s != nil {
		under, err := s.admit(k, ident, m)
		if err != nil {
			return err
		}
		if h.owner = s.owner; under != nil {
			h.under = under
			return nil
		}
	}
	if k.n > 1 {
		if err := t.lockAbove(ctx, h, s, try); err != nil {
			return err
		}
	}
	err := t.acquire(ctx, h, try)
	if err != nil {
		h.dropAbove()
		return err
	}
	h.owner.add(h)
	return nil
}

// lockAbove gets what a hold needs of the parents of its name.
func (t *Table) lockAbove(ctx context.Context, h *hold, s *scope, try bool) error {
	intent := h.mode.Intent()
	for i := range h.key.n - 1 {
		parent := h.key.parent(i + 1)
		var err error
		if s != nil {
			h.above[i].hold, err = s.holdOfParent(parent, intent)
		}
		if err == nil && h.above[i].hold == nil {
			h.above[i].intent, err = t.intend(ctx, parent, intent, try)
		}
		if err != nil {
			h.dropAbove()
			return err
		}
	}
	return nil
}

func (h *hold) dropAbove() { dropAll(h.above[:], false) }

// dropAll ends the use of what a hold has of the parents of its name. Bare is as in intent.retake.
func dropAll(list []above, bare bool) {
	for i, a := range list {
		if a.intent != nil {
			a.intent.endUse(bare)
		}
		if a.hold != nil {
			_ = a.hold.endUse()
		}
		list[i] = above{}
	}
}

// acquire gets the lock of h in shared memory.
func (t *Table) acquire(ctx context.Context, h *hold, try bool) error {
	if h.kept != nil && !h.inRecord {
		word := waitqueue.HoldOf(t.self.Row, h.mode, h.number(), t.number())
		if h.kept.takeInPhase(word, !try) {
			failpoint.Hit("locktable/acquire/taken")
			h.head, h.n, h.word, h.plain = h.kept.head, h.kept.n, word, true
			return nil
		}
	}
	w := waiter{t: t, h: h, mode: h.mode}
	err := w.attempt(ctx, try)
	switch {
	case errors.Is(err, ErrHeld):
		return t.explain(&WaitError{Name: h.key.String(), Mode: h.mode, Err: ErrHeld}, h.key)
	case err == nil && w.rec != nil:
		err = w.wait(ctx)
	}
	if err != nil && (h.word != 0 || h.rec != nil) { // a fault has ended the call that had got the lock
		_ = h.releaseShared()
	}
	return err
}

// lockPart does what enter does, also after the end of the table's view: for a caller that gives back what a session
// has.
func (t *Table) lockPart(ctx context.Context, i int) (u *turn, err error) {
	lease, err := t.mapped.Enter()
	if err != nil {
		return nil, t.closed()
	}
	defer func() { // also at a fault
		if u == nil {
			lease.Leave()
		}
	}()
	failpoint.Hit("locktable/enter/leased")
	l := &t.parts[i]
	guard, err := l.lock.Lock(ctx)
	if errors.Is(err, shmsync.ErrNotRecoverable) { // all that it guards can be repaired
		guard, err = l.lock.Recover(ctx)
	}
	if err != nil {
		if t.mapped.Ended() {
			return nil, t.closed()
		}
		return nil, fmt.Errorf("locktable: waiting for partition %d: %w", i, err)
	}
	return l.begin(lease, guard)
}

// waiter is a goroutine that waits for a lock.
type waiter struct {
	t     *Table
	h     *hold
	ref   roster.Ref
	rec   *waitqueue.Record
	mode  Mode          // that is waited for
	own   waitqueue.Ref // what is to be upgraded; 0: nothing
	began time.Time
	bit   bit
	ahead int           // that were before it when it last looked
	due   time.Duration // until one of them is to be passed over; 0: none was called
	dead  []int         // rows that hold the lock and may be dead
	told  bool          // OnWait has been called
	looks uint          // how often it has looked
}

// attempt takes the lock if it is free. If it is not, it is ErrHeld, or it puts the waiter into the queue.
func (w *waiter) attempt(ctx context.Context, try bool) (err error) {
	t, h := w.t, w.h
	defer t.answer(&err, fault.Catch())
	u, err := t.turn(ctx, h.partition(), try)
	if err != nil {
		return err
	}
	defer u.leave()
	h.head, h.n, err = u.lookupLocked(h.key.b, h.ident)
	if err == nil && h.head == nil {
		h.head, h.n, err = u.makeLocked(h.key.b, h.ident)
	}
	if err != nil {
		return err
	}
	u.numbers++
	word := waitqueue.HoldOf(t.self.Row, h.mode, h.number(), u.numbers)
	if !h.inRecord && h.head.lock.TryTake(word) {
		failpoint.Hit("locktable/attempt/taken")
		h.word, h.alone = word, true
		w.hold(u)
		u.markDone()
		return nil
	}
	q := u.queue(h.head, h.n)
	q.SlowLocked()
	failpoint.Hit("locktable/attempt/slow")
	if q.FitsLocked(h.mode, 0, 0) {
		if !h.inRecord && q.PlaceLocked(word) {
			h.word = word
		} else if h.ref, h.rec, err = u.recordLocked(waitqueue.StateOf(waitqueue.Held, h.mode, h.number(), t.number()),
			t.root.tickets.Add(1), 0); err != nil {
			return err
		}
		failpoint.Hit("locktable/attempt/granted")
		w.hold(u)
	} else if try {
		err = ErrHeld
	} else {
		w.bit.take(t)
		w.began = time.Now()
		w.ref, w.rec, err = u.recordLocked(waitqueue.StateOf(waitqueue.Waiting, h.mode, h.number(), t.number()),
			t.root.tickets.Add(1), w.bit.number())
		if err != nil {
			w.bit.release()
			return err
		}
		failpoint.Hit("locktable/attempt/queued")
		w.noteBlockersLocked(u)
	}
	u.callWaiters()
	u.markDone()
	return err
}

// hold gives the hold the turn's lease, until it is unlocked: the bytes of the head stay mapped.
func (w *waiter) hold(u *turn) {
	w.h.lease, u.lease = u.lease, shm.Lease{}
}
