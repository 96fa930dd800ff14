package locktable

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/sys/fault"
	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/dsa"
	"github.com/godsm/godsm/shm/roster"
	"github.com/godsm/godsm/shm/shmsync"
	"github.com/godsm/godsm/shm/waitqueue"
)

// local is a partition as this process knows it.
type local struct {
	t    *Table
	i    int
	p    *part
	lock *shmsync.LWLock

	gives atomic.Uint32 // holds by name given back since idle heads were last looked for

	mu      sync.Mutex // after a swap of the bytes the lock may be had twice in this process
	turn    turn
	numbers uint32 // of holds by name. Under the partition's lock, as all below
	epoch   uint32
	pages   []page // found so far, by number
	hand    uint32 // the head that was last looked at for one that no process uses
	buckets index
}

type page struct {
	at    dsa.Pointer
	heads []head
}

type index struct {
	at    dsa.Pointer
	words []uint32
}

// turn is one call's use of a partition under its lock. The lease keeps the bytes over the end of the area's view.
type turn struct {
	*local
	lease shm.Lease
	guard shmsync.Guard
	done  bool // the caller is through, and has not faulted
	q     waitqueue.Queue
	rings []ring
}

// ring is a waiter to be woken when the lock has been let go.
type ring struct {
	peer shmsync.Peer
	bit  uint32
}

func ringOf(peer shmsync.Peer, bit uint32) ring { return ring{peer, bit} }

// enter waits for a partition's lock, and repairs what a holder that died has left. The caller is in a scope of
// fault.Catch (see answer) from before enter to its end: a word of the lock may be gone as any other. Each enter is
// followed by a deferred leave.
func (t *Table) enter(ctx context.Context, i int) (*turn, error) {
	if t.view.Ended() {
		return nil, t.closed()
	}
	u, err := t.lockPart(ctx, i)
	if err == nil && t.view.Ended() { // Close gives back what there is under this lock, and may have done so already
		u.leaveUnchanged()
		return nil, t.closed()
	}
	return u, err
}

// tryFor is how long a call that does not wait tries to acquire a partition's lock.
const tryFor = 50 * time.Microsecond

// tryEnter enters a partition as enter does, but waits for most at most; then it is ErrBusy.
func (t *Table) tryEnter(i int, most time.Duration) (u *turn, err error) {
	if t.view.Ended() {
		return nil, t.closed()
	}
	lease, err := t.mapped.Enter()
	if err != nil {
		return nil, t.closed()
	}
	defer func() { // also at a fault
		if u == nil {
			lease.Leave()
		}
	}()
	for began := time.Now(); ; {
		guard, ok, err := t.parts[i].lock.TryLock()
		if errors.Is(err, shmsync.ErrNotRecoverable) {
			lease.Leave()
			lease = shm.Lease{}
			return t.enter(context.Background(), i)
		}
		if ok {
			u, err := t.parts[i].begin(lease, guard)
			if err == nil && t.view.Ended() {
				u.lease = shm.Lease{} // it ends here
				u.leaveUnchanged()
				return nil, t.closed()
			}
			return u, err
		}
		if err != nil || time.Since(began) >= most {
			if err == nil {
				err = fmt.Errorf("locktable: partition %d: %w%s", i, ErrBusy, byHolder(t.parts[i].lock.Status()))
			}
			return nil, err
		}
	}
}

// byHolder returns the end of a sentence that names the session that has a lock; nothing if none has it any more.
func byHolder(s shmsync.Status) string {
	if len(s.Exclusive) == 0 {
		return ""
	}
	return fmt.Sprintf(" by session %v", s.Exclusive[0])
}

// begin returns the turn of a caller that has just got the partition's lock. If it fails, or meets a fault, the lock
// is given back and the lease is the caller's.
func (l *local) begin(lease shm.Lease, guard shmsync.Guard) (u *turn, err error) {
	in := false // the lock is the turn's
	defer func() {
		if !in {
			_ = fault.Contain(func() error { guard.Unlock(); return nil })
		}
	}()
	failpoint.Hit("locktable/begin/locked")
	epoch, dirty := l.p.epoch.Load(), guard.Abandoned() || l.p.dirty.Load() != 0
	l.mu.Lock()
	in = true
	u = &l.turn
	u.local, u.lease, u.guard, u.done, u.rings = l, lease, guard, false, u.rings[:0]
	if epoch != l.epoch {
		clear(l.pages)
		l.epoch, l.buckets = epoch, index{}
	}
	if !dirty {
		return u, nil
	}
	err = fault.Contain(func() error {
		l.p.dirty.Store(1)
		guard.MarkConsistent()
		return u.repairLocked()
	})
	if err != nil {
		u.lease = shm.Lease{} // the caller's
		_ = fault.Contain(func() error { u.leave(); return nil })
		return nil, fmt.Errorf("locktable: repair partition %d: %w", l.i, err)
	}
	return u, nil
}

// leave gives the partition's lock back and wakes the waiters that were called. Callers defer it after fault.Catch, so
// that a fault in it becomes the caller's error. Unless ok was called, because of a fault or because an invalid word
// was found, leave marks the partition dirty and the next holder of the lock repairs it.
func (u *turn) leave() {
	l, lease, guard := u.local, u.lease, u.guard
	defer lease.Leave()
	if u.done && len(u.rings) == 0 {
		l.mu.Unlock()
		guard.Unlock()
		return
	}
	rings, done := append([]ring(nil), u.rings...), u.done
	defer func() {
		for _, r := range rings {
			l.t.self.Mailbox.Ring(r.peer, r.bit)
		}
	}()
	defer guard.Unlock()
	l.mu.Unlock()
	if !done {
		l.p.dirty.Store(1)
	}
}

// leaveUnchanged leaves a turn in which nothing was done: there is nothing to repair after it.
func (u *turn) leaveUnchanged() {
	u.markDone()
	_ = fault.Contain(func() error { u.leave(); return nil })
}

// markDone says that the caller is through.
func (u *turn) markDone() { u.done = true }

// queue returns the queue of a head.
func (u *turn) queue(h *head, n uint32) *waitqueue.Queue {
	u.q = waitqueue.Queue{
		Head: &h.lock, Key: keyOf(u.i, n), At: u.t.find, Now: uint64(time.Now().UnixNano()), Calls: u.q.Calls[:0],
	}
	return &u.q
}

// callWaiters calls who can have the lock of the queue now.
func (u *turn) callWaiters() {
	u.q.CallLocked()
	for _, c := range u.q.Calls {
		if who, _, ok := u.t.roster.Seat(rowOf(c.Ref)); ok {
			u.rings = append(u.rings, ring{who, c.Bit})
		}
	}
	u.q.Calls = u.q.Calls[:0]
}

func rowOf(ref waitqueue.Ref) int { return roster.Ref(ref).Row() }

// turn enters a partition: by tryEnter if try, else by enter.
func (t *Table) turn(ctx context.Context, part int, try bool) (*turn, error) {
	if try {
		return t.tryEnter(part, tryFor)
	}
	return t.enter(ctx, part)
}

// turnWithin enters a partition as enter does, and waits so long for it; 0: no longer than tryEnter does.
func (t *Table) turnWithin(wait time.Duration, part int) (*turn, error) {
	if wait == 0 {
		return t.tryEnter(part, tryFor)
	}
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	return t.enter(ctx, part)
}

// tried runs f with a partition's lock, for which it waits so long, and reports whether there is nothing left to try:
// f has run, or the table has ended, or its bytes are gone.
func (t *Table) tried(wait time.Duration, part int, name []byte, f func(u *turn, name []byte)) bool {
	err := func() (err error) {
		defer t.answer(&err, fault.Catch())
		u, err := t.turnWithin(wait, part)
		if err != nil {
			return err
		}
		defer u.leave()
		f(u, name)
		u.markDone()
		return nil
	}()
	return err == nil || errors.Is(err, ErrClosed) || errors.Is(err, ErrCorrupt)
}

// withPartSoon runs f with a partition's lock: now, if that can be had at once or in so long, else in a goroutine,
// with a copy of name.
func (t *Table) withPartSoon(part int, name []byte, wait time.Duration, f func(u *turn, name []byte)) {
	if t.tried(0, part, name, f) || wait > 0 && t.tried(wait, part, name, f) {
		return
	}
	name = append([]byte(nil), name...)
	fault.Go(func() {
		for !t.tried(time.Second, part, name, f) {
		}
	})
}
