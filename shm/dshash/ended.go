package dshash

import (
	"errors"
	"runtime"
	"sync"
	"weak"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/shm"
)

// The end of the area, which comes at any moment and from another goroutine, and the ways out of a call that has met
// it or a fault. A call asks for the end when it begins, when it has a lock, and before it gives an answer.
//
// If the area is detached while its session goes on, a lock that this process holds in the table must be given back
// in the bytes that others have. A counter of calls would cost a third of a lookup, and the locks themselves report
// whether they are held: so Detach keeps every call from taking one, makes the bytes stay while one is held, and the
// last that is given back lets them go. A call that finds the end when it has just taken a lock gives it back at
// once.
//
// If the session ends, a call that is in flight may lose a store to one segment and keep a later one to another,
// since their bytes are swapped for private pages one after another. So it asks for the end before each store that
// publishes what others are led to: an item, an array, what a repair has found. If the area has not ended by then,
// all that the call has read and stored until then was in the bytes that others have. And a partition whose lock is
// held when the area is detached is marked as dirty: its next holder repairs it, whichever of the last holder's
// stores it sees.
//
// What this file does not promise: that a caller's own loads and stores in an entry's value are protected. They are
// after a Detach, as long as the entry is held; after the end of the session they may be in private pages, and reach
// no other process.

// last is what decides when the bytes may go, after Detach.
type last struct {
	// mu guards the fields below. It is the last in the lock order; under it locks are asked whether they are held,
	// and the lease is given back.
	mu sync.Mutex
	// leaving is true from Detach until the bytes were let go.
	leaving bool
	// lease keeps the bytes mapped while leaving is true.
	lease shm.Lease
}

// errClosed is the answer of each call after the end of the area.
var errClosed = errkind.As(ErrClosed, errors.New("dshash: the table's area has been detached"))

// watchEnd has the area call leave when it is detached. The area keeps no table alive by that: it has a weak pointer,
// and the hook is taken back when the table is collected.
func (t *core) watchEnd() {
	w := weak.Make(t)
	stop := t.area.OnDetach(func() {
		if t := w.Value(); t != nil {
			t.leaveArea()
		}
	})
	runtime.AddCleanup(t, func(stop func()) { stop() }, stop)
}

// leaveArea runs once, when the area is detached or its session closed, before any bytes go. It keeps all later calls of
// this process from taking a lock of the table, and keeps the bytes until the holders have given theirs back; it does
// not wait for those. If the session is closing it also marks the partitions that the session holds exclusively or
// shared, since the last stores of the holders may not have reached other processes.
func (t *core) leaveArea() {
	if lease, ok := t.ends.Hold(); ok {
		closing := t.area.Self().View.Ended()
		for i := range t.local {
			l := t.local[i].lock
			// After Bar no call can get the lock any more; those that have it are found by Mine. The mark comes
			// before the lease is given back, after which the bytes may go.
			if l.Bar(); closing && l.Mine() {
				_ = t.contained(func() error { t.parts[i].dirty.Store(1); return nil })
			}
		}
		t.spared.lock.Bar()
		t.last.mu.Lock()
		t.last.leaving, t.last.lease = true, lease
		t.last.mu.Unlock()
		t.releaseLast()
	}
}

// releaseLast lets the bytes go, if the area is detached and this process holds no lock of the table. Each call that
// finds the end when it takes a lock or gives one back calls it, so the last of them lets the bytes go. It may be
// called at any time, and often.
func (t *core) releaseLast() {
	t.last.mu.Lock()
	defer t.last.mu.Unlock()
	if t.last.leaving && !t.holdsLock() {
		t.last.leaving = false
		t.last.lease.Leave()
	}
}
