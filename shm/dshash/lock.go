package dshash

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/godsm/godsm/shm/dsa"
	"github.com/godsm/godsm/shm/shmsync"
)

// The lock of a partition, and the repair that comes with it.
//
// A lock whose holder died is taken over by the next caller, whose guard is then Abandoned. What the dead holder left
// is marked in the partition's word dirty before the guard is called consistent: so a process that dies while it
// repairs leaves the mark, and each later holder sees it before anything else. Hence all other code of this package
// may assume that the partition whose lock it holds is in order, unless a program has written where it shouldn't.
//
// A lock is waited for until the caller's context is over or the area's view ends. Nothing here finds deadlocks.

// lockPart takes the lock of partition i for e, which has it from then on, and repairs what a dead holder left. It waits
// until ctx is over. If it fails e has no lock. The caller is in a scope, such as containedHold, that gives the lock
// back if there is a fault; see core.errPanic. It also has the area unmap the segments that went back, which lookups
// without allocation would keep mapped.
func (t *core) lockPart(ctx context.Context, i int, exclusive bool, e *entry) error {
	if err := t.area.Current(); err != nil {
		return fmt.Errorf("dshash: %w", err)
	}
	return t.lockRepaired(ctx, i, exclusive, e)
}

// impatient is a context that is over: a lock is taken at once, or not at all. The callers that use it try without a
// wait, and leave what is rare, such as a timer for ctx, to take.
var impatient = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// waitPartLock waits for the lock of partition i, shared or exclusive, until ctx is over or the area ends, and gives
// it to e. A lock that was poisoned, because a holder that had taken it over did not call it consistent, it takes too:
// all that the lock guards can be repaired. The guard may be Abandoned; the caller is lockRepaired, which looks. If it
// fails e has no lock.
func (t *core) waitPartLock(ctx context.Context, i int, exclusive bool, e *entry) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer t.ends.OnEnd(cancel)()
	l := &t.local[i]
	if exclusive {
		e.guard, err = l.lock.Lock(ctx)
	} else {
		e.guard, err = l.lock.RLock(ctx)
	}
	if errors.Is(err, shmsync.ErrNotRecoverable) { // all that it guards can be repaired
		e.guard, err = l.lock.Recover(ctx)
	}
	switch {
	// The area may have ended while the call waited, or just after it got the lock. The method leave, which runs at that
	// end, relies on each such call: the call gives its lock back, and asks whether it was the last call in flight.
	case t.ends.Ended():
		if err == nil {
			e.l = l
			e.unlock()
		} else {
			t.releaseLast()
		}
		return errClosed
	case err != nil:
		return fmt.Errorf("dshash: partition %d: %w", i, err)
	}
	e.l = l
	return nil
}

// lockRepaired takes the lock of partition i for e, or goes on with the one that e has, and repeats that until there is
// nothing to repair and the lock is held as the caller wants it: exclusively or shared. A repair needs it
// exclusively. So a caller that wants it shared may give it back and take it again twice, and other sessions may
// change the partition in between. It waits until ctx is over. If it fails e has no lock.
func (t *core) lockRepaired(ctx context.Context, i int, exclusive bool, e *entry) error {
	p := &t.parts[i]
	if e.l == nil {
		if err := t.waitPartLock(ctx, i, exclusive, e); err != nil {
			return err
		}
	}
	for want := exclusive; ; {
		alone := want
		if e.guard.Abandoned() {
			alone = true
			// The mark comes before the guard is called consistent. A process that dies before the mark leaves the
			// lock one of a dead holder again; one that dies after it leaves the mark, and the next holder repairs.
			p.dirty.Store(1)
			e.guard.MarkConsistent()
		}
		switch {
		// There is nothing to repair, and the lock is held as wanted. A guard that is exclusive although it was
		// wanted shared, as one that was taken over is, would keep the other readers out.
		case p.dirty.Load() == 0 && alone == exclusive:
			return nil
		case !alone:
			// It is held shared, and there is something to repair.
			want = true
		default:
			// It is held exclusively: repair. If another session has done so in the meantime the lock is only given
			// back, to be taken shared.
			want = exclusive
			if p.dirty.Load() == 0 {
				break
			}
			if err := t.repairPart(ctx, i); err != nil {
				e.unlock()
				return t.orClosed(fmt.Errorf("dshash: partition %d, whose last holder died, is not repaired: %w", i, err))
			}
			if exclusive {
				return nil
			}
		}
		e.unlock()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := t.waitPartLock(ctx, i, want, e); err != nil {
			return err
		}
	}
}

// unlock ends the hold of e, and changes nothing else. It reports whether the area had ended when the lock had been
// given back; an entry that holds nothing, or a scan's, whose lock the scan gives back, reports false.
func (e *entry) unlock() (ended bool) {
	l := e.l
	if e.l = nil; l == nil || l.scan {
		return false
	}
	e.guard.Unlock()
	if ended = l.t.ends.Ended(); ended {
		l.t.releaseLast()
	}
	return ended
}

// withPartLock runs f with the lock of partition i, shared or exclusive, repaired if need be, and gives it back. It
// waits for the lock until ctx is over.
func (t *core) withPartLock(ctx context.Context, i int, exclusive bool, f func() error) error {
	var e entry
	defer t.dropLock(&e)
	return t.containedHold(&e, func() error {
		if err := t.lockPart(ctx, i, exclusive, &e); err != nil {
			return err
		}
		return f()
	})
}

// dropLock gives back the lock that e has, if any, also where a fault shows that the bytes of the lock are gone.
func (t *core) dropLock(e *entry) {
	if e.l != nil {
		_ = t.contained(func() error {
			e.unlock()
			return nil
		})
	}
}

// holdsLock reports whether this session holds a lock of the table, exclusively or shared.
func (t *core) holdsLock() bool {
	for i := range t.local {
		if t.local[i].lock.Mine() {
			return true
		}
	}
	return t.spared.lock.Mine()
}

// lockAndFind takes the lock for that key in e and looks for the entry; e.ptr is 0 if there is none. It waits until
// ctx is over. If it fails, e may have the lock nevertheless, and the caller gives it back. It does not ask for the
// end of the area: the lock does so, when it is asked for and once it is taken, and the caller does before it answers.
//
// On success with an exclusive lock local.change is begun for this entry, with the array that has it, or into which
// it would go.
func (t *core) lockAndFind(ctx context.Context, key []byte, exclusive bool, e *entry) error {
	var h, word uint64
	if t.word {
		word = binary.NativeEndian.Uint64(key)
		h = hashWord(word, t.seed)
	} else {
		h = hashOf(key, t.seed)
	}
	i := t.partOf(h)
	l, p := &t.local[i], &t.parts[i]
	var err error
	if exclusive {
		e.guard, err = l.lock.Lock(impatient)
	} else {
		e.guard, err = l.lock.RLock(impatient)
	}
	if err == nil {
		e.l = l
	}
	// Rare: the lock is not free, its last holder died, or the partition is marked as one to be repaired.
	if err != nil || p.dirty.Load() != 0 || e.guard.Abandoned() {
		if err = t.lockRepaired(ctx, i, exclusive, e); err != nil {
			return err
		}
	}
	v := t.seen[i].Load()
	// Under the lock the view stays current: only its exclusive holder changes the arrays.
	if !v.current(p, t.area.Returned()) {
		if v, err = t.remakeView(i); err != nil {
			return err
		}
	}
	ls := v.lines
	if v.busy != nil {
		if ls, err = t.arrayWith(v, h, key); err != nil {
			return err
		}
	}
	var line, slot int
	var at dsa.Pointer
	var b []byte
	var ok bool
	if t.word { // without a call in between
		line, slot, at, b, ok = t.searchWord(ls, h, word)
	} else {
		line, slot, at, b, ok = t.searchLines(ls, h, key)
	}
	// The search met a pointer into a segment that is not mapped here, or into nothing.
	if !ok {
		if line, slot, at, b, err = t.searchMapped(ls, h, key, at); err != nil {
			return err
		}
	}
	if e.ptr = at; exclusive {
		l.change.begin(h, ls, b, line, slot, v.busy != nil)
	}
	return nil
}
