package shmsync

import (
	"sync/atomic"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/sys/futex"
)

// wakeFlagged wakes the sleepers of which st has the flags: all that want the lock shared, and of those that want it
// exclusively one or, since the lock is of no use any more, everyone. The one that is woken sets sleepX again when it
// takes the lock, for those that sleep on.
func (l *LWLock) wakeFlagged(st uint64, everyone bool) {
	if st&sleepX != 0 {
		n := 1
		if everyone {
			n = all
		}
		l.wakeMode(exclusive, n)
		failpoint.Hit("shmsync/lwlock/half-woken")
	}
	if st&sleepS != 0 {
		l.wakeMode(shared, all)
	}
}

// all is more sleepers than there are.
const all = 1 << 30

// wakeMode wakes n sleepers of a mode. The turn is changed before: a goroutine that is about to sleep has loaded the
// turn before its last attempt, and does not sleep on another value.
func (l *LWLock) wakeMode(m mode, n int) {
	t := &l.word.turn[m]
	t.Add(1)
	failpoint.Hit("shmsync/lwlock/turned")
	futex.Wake(t, n)
}

// wakeOwner wakes an owner that sleeps until the readers are gone. Of several readers that leave at once, one makes the
// system call: the one whose swap has taken the mark.
func (l *LWLock) wakeOwner() {
	if a := &l.word.asleep; a.Load() != 0 && a.Swap(0) != 0 {
		failpoint.Hit("shmsync/lwlock/awake")
		wake(a)
	}
}

// wake wakes all that sleep on w, in every process.
func wake(w *atomic.Uint32) { futex.Wake(w, all) }

// wakeWriter wakes the writer that waits for a reader that has left its slot.
func (l *LWLock) wakeWriter() {
	failpoint.Hit("shmsync/lwlock/left")
	if l.word.state.Load()&peerMask != 0 {
		l.wakeOwner()
	}
}

// wakeAll wakes all that wait for the lock, in every process, so that those of this one look at the view. The mark of an
// owner that sleeps is taken away before its wake-up: one that is about to sleep finds it changed. It does not fault.
func (l *LWLock) wakeAll() {
	endAtFault(func() {
		l.word.asleep.Store(0)
		l.wakeMode(exclusive, all)
		l.wakeMode(shared, all)
		wake(&l.word.asleep)
	})
}

// freeAndWake swaps the state from st to one without an owner, with the next number, and wakes those that wait. Poison
// is poisoned or 0. It reports whether the state was still st; if not, it has changed nothing.
func (l *LWLock) freeAndWake(st, poison uint64) bool {
	next := (st&holds + oneHold) | st&(mayRead|hungry) | poison
	if !l.word.state.CompareAndSwap(st, next) {
		return false
	}
	failpoint.Hit("shmsync/lwlock/freed")
	l.wakeFlagged(st, poison != 0)
	return true
}
