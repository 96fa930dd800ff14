package dshash

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"weak"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/sys/fault"
	"github.com/godsm/godsm/shm"
)

// The end of the area's view comes at any moment. A call asks for it when it begins, when it has a lock, and before it
// gives an answer.
//
// If the area is detached while its session goes on, a lock that this process holds in the table must be given back in
// the bytes that others have. A counter of calls would cost a third of a lookup, and the locks themselves report whether
// they are held: so Detach keeps every call from taking one, makes the bytes stay while one is held, and the last that is
// given back lets them go. A call that finds the end when it has just taken a lock gives it back at once.
//
// If the session ends, a call that is in flight may lose a store to one segment and keep a later one to another, since
// their bytes are swapped one after another. So it asks for the end before each store that publishes what others are led to:
// an item, an array, what a repair has found. If the answer is no, all that it has read and stored until then was
// in the bytes that others have. And a partition whose lock is held when the area is detached is repaired by who has it next,
// whichever of the holder's last stores they see.

// last is what decides when the bytes may go.
type last struct {
	mu      sync.Mutex
	leaving bool // the area is detached
	lease   shm.Lease
}

var errClosed = errkind.As(ErrClosed, errors.New("dshash: the table's area has been detached"))

// watch has the area ask the table when it is detached.
func (t *core) watch() {
	w := weak.Make(t)
	stop := t.area.OnDetach(func() {
		if t := w.Value(); t != nil {
			t.leave()
		}
	})
	runtime.AddCleanup(t, func(stop func()) { stop() }, stop)
}

// leave is the end of the area.
func (t *core) leave() {
	if lease, ok := t.ends.Hold(); ok {
		closing := t.area.Self().View.Ended()
		for i := range t.local {
			l := t.local[i].lock
			if l.Bar(); closing && l.Mine() { // before anything else may let the bytes go
				_ = t.contained(func() error { t.parts[i].dirty.Store(1); return nil })
			}
		}
		t.spared.lock.Bar()
		t.last.mu.Lock()
		t.last.leaving, t.last.lease = true, lease
		t.last.mu.Unlock()
		t.settleLast()
	}
}

// settleLast lets the bytes go, if the area is detached and this process holds no lock of the table. Whatever finds the
// end when it takes a lock or gives one back calls it.
func (t *core) settleLast() {
	t.last.mu.Lock()
	defer t.last.mu.Unlock()
	if t.last.leaving && !t.holds() {
		t.last.leaving = false
		t.last.lease.Leave()
	}
}

// holds reports whether a lock of the table is held by this session.
func (t *core) holds() bool {
	for i := range t.local {
		if t.local[i].lock.Mine() {
			return true
		}
	}
	return t.spared.lock.Mine()
}

// unlock ends the hold and changes nothing. It reports whether the area had ended when the lock had been given back.
func (e *entry) unlock() (ended bool) {
	l := e.l
	if e.l = nil; l == nil || l.scan {
		return false
	}
	e.guard.Unlock()
	if ended = l.t.ends.Ended(); ended {
		l.t.settleLast()
	}
	return ended
}

// answer is err or, once the area has ended, ErrClosed: what was read since then means nothing.
func (t *core) answer(err error) error {
	if t.ends.Ended() {
		return errClosed
	}
	return err
}

// contained runs f, in which a fault in shared bytes is ErrCorrupt. What f locks it unlocks by defer.
func (t *core) contained(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if f := fault.Of(recover()); f != nil {
			err = t.gone(f)
		}
	}()
	return f()
}

// gone is the error for a fault.
func (t *core) gone(fault error) error {
	return t.answer(errkind.As(ErrCorrupt, fmt.Errorf("dshash: bytes of the table are gone from under their mapping: "+
		"a segment's object was truncated, or its file system failed (%w)", fault)))
}

// broken is what a scope ends with in which there was a panic, r: if it is a fault, the lock of e is given back, and who
// has it next repairs.
func (t *core) broken(e *entry, r any) error {
	f := fault.Of(r)
	if l := e.l; l != nil {
		_ = t.contained(func() error {
			if e.guard.Exclusive() {
				t.parts[l.i].dirty.Store(1)
			}
			return nil
		})
		_ = t.contained(func() error {
			e.unlock()
			return nil
		})
	}
	return t.gone(f)
}

// doubted is err, of what was done with the lock of e: if something is wrong in the partition, who has the lock next
// repairs.
func (t *core) doubted(e *entry, err error) error {
	if e.l != nil && errors.Is(err, ErrCorrupt) && !t.ends.Ended() {
		t.parts[e.l.i].dirty.Store(1)
	}
	return err
}

// within runs f, in which e may have a lock. A fault is an error.
func (t *core) within(e *entry, f func() error) (err error) {
	old, whole := debug.SetPanicOnFault(true), false
	defer func() {
		debug.SetPanicOnFault(old)
		if !whole {
			err = t.broken(e, recover())
		}
	}()
	err = f()
	whole = true
	return t.answer(err)
}

// under runs f with the lock of partition i.
func (t *core) under(ctx context.Context, i int, exclusive bool, f func() error) error {
	var e entry
	defer e.unlock()
	return t.within(&e, func() error {
		if err := t.lock(ctx, i, exclusive, &e); err != nil {
			return err
		}
		return f()
	})
}
