package dshash

import (
	"encoding/binary"
	"runtime/debug"
)

// Short ways for tables whose keys are words of 8 bytes, the most frequent kind. Each does in one function what
// glance or find does in several, and leaves all that is rare to those: a partition whose arrays change, memory that
// is not mapped yet, a fault, a lock that is not free. They give the same answers as the long ways, and promise no
// more.

// findWord finds an entry and holds it shared in e, if the lock is free and nothing is in the way. It reports whether
// there is an entry and, by ok, whether the answer holds; if not, nothing is held, and the caller asks find. It does
// not wait for the lock.
func (t *core) findWord(key []byte, e *entry) (found, ok bool) {
	old := debug.SetPanicOnFault(true)
	defer func() {
		if !ok {
			debug.SetPanicOnFault(old)
			recoverFault(recover())
			t.dropLock(e)
		}
	}()
	k := binary.NativeEndian.Uint64(key)
	h := hashWord(k, t.seed)
	i := t.partOf(h)
	l, p := &t.local[i], &t.parts[i]
	g, err := l.lock.RLock(impatient)
	if err != nil {
		if t.ends.Ended() {
			t.releaseLast()
		}
		return false, false
	}
	e.l, e.guard = l, g
	v := t.seen[i].Load()
	// A guard that is exclusive is of a lock that was taken over from a dead session: repair is for find.
	if !v.current(p, t.area.Returned()) || v.busy != nil || p.dirty.Load() != 0 || g.Exclusive() {
		return false, false
	}
	_, _, at, _, whole := t.searchWord(v.lines, h, k)
	if !whole || t.ends.Ended() {
		return false, false
	}
	// Without an entry nothing stays held.
	if e.ptr = at; at == 0 {
		e.unlock()
	}
	debug.SetPanicOnFault(old)
	return at != 0, true
}
