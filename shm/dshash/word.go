package dshash

import (
	"encoding/binary"
	"runtime/debug"

	"github.com/godsm/godsm/internal/sys/ordered"
)

// glanceWord is glance, once, for a key that is a word, the most frequent kind: in one piece it takes a fifth
// less. What is not simple it leaves to glance.
func (t *core) glanceWord(key, value []byte) (found, ok bool) {
	old := debug.SetPanicOnFault(true)
	defer func() {
		if !ok {
			debug.SetPanicOnFault(old)
			recoverFault(recover())
		}
	}()
	h := hashWord(binary.NativeEndian.Uint64(key), t.seed)
	i := t.part(h)
	p := &t.parts[i]
	seen := p.version.Load()
	v := t.local[i].seen.Load()
	if !v.current(p, t.area) {
		return false, false
	}
	if v.busy != nil {
		return false, false
	}
	_, _, at, b, whole := t.search(v.lines, h, key)
	if !whole { // ok stays false until all is read: there may be a fault
		return false, false
	}
	if found = at != 0; found {
		assign(value, b[t.valueAt:t.size])
	}
	ordered.LoadLoad()
	// An odd version is of an item that is not whole. Found means nothing once the view has ended, whose bytes may have been
	// private pages while they were read.
	if p.version.Load() != seen&^1 || t.ends.Ended() {
		return false, false
	}
	debug.SetPanicOnFault(old)
	return found, true
}

// findWord is find, for a key that is a word and an entry that is held shared. What is not simple, a fault too, it leaves
// to find, and holds nothing.
func (t *core) findWord(key []byte, e *entry) (found, ok bool) {
	old := debug.SetPanicOnFault(true)
	defer func() {
		if !ok {
			debug.SetPanicOnFault(old)
			recoverFault(recover())
			t.drop(e)
		}
	}()
	h := hashWord(binary.NativeEndian.Uint64(key), t.seed)
	i := t.part(h)
	l, p := &t.local[i], &t.parts[i]
	g, err := l.lock.RLock(impatient)
	if err != nil {
		if t.ends.Ended() {
			t.settleLast()
		}
		return false, false
	}
	e.l, e.guard = l, g
	v := l.seen.Load()
	if !v.current(p, t.area) || v.busy != nil || p.dirty.Load() != 0 || g.Exclusive() {
		return false, false
	}
	_, _, at, _, whole := t.search(v.lines, h, key)
	if !whole || t.ends.Ended() {
		return false, false
	}
	if e.ptr = at; at == 0 {
		e.unlock()
	}
	debug.SetPanicOnFault(old)
	return at != 0, true
}

// drop gives back the lock that e has, if any, whatever became of the bytes.
func (t *core) drop(e *entry) {
	if e.l != nil {
		_ = t.contained(func() error {
			e.unlock()
			return nil
		})
	}
}
