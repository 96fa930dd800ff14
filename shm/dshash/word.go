package dshash

import (
	"encoding/binary"
	"runtime/debug"

	"github.com/godsm/godsm/internal/ordered"
)

// glanceWord is glance, once, for a key that is a word, the most frequent kind: in one piece it takes a fifth
// less. What is not simple it leaves to glance.
func (t *core) glanceWord(key, value []byte) (found, ok bool) {
	old := debug.SetPanicOnFault(true)
	defer func() {
		debug.SetPanicOnFault(old)
		if !ok {
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
	_, _, at, b, whole := t.search(v.lines, h, key)
	if !whole { // ok stays false until all is read: there may be a fault
		return false, false
	}
	if found = at != 0; found {
		assign(value, b[t.valueAt:t.size])
	}
	ordered.LoadLoad()
	return found, p.version.Load() == seen && !t.ends.Ended()
}
