package dshash

import (
	"context"
	"encoding/binary"
	"runtime/debug"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/sys/ordered"
	"github.com/godsm/godsm/shm/dsa"
)

// Lookups without a lock.
//
// A reader loads the partition's version, then line, slot and item, and last the version again. If both are the same
// even number, nothing that it has read was taken out, freed or overwritten in between; else it looks again, and
// after some tries it takes the lock. In between it may read memory that was freed and used again, or that was
// unmapped: so each length is checked before it is used, faults are caught, and nothing that was read leaves the call
// before the version has been validated.
//
// A reader stores nothing in shared memory and waits for no other process. It does not promise the latest value at
// the time when it returns: the value was the entry's at some moment of the call.

// tries is how often a reader looks without the lock before it takes it. Under constant changes of a partition it
// would look in vain forever.
const tries = 4

// lookup is a question and its answer. No pointer to key or value is stored anywhere, so that both can stay on the
// stack of the goroutine that asks.
type lookup struct {
	key []byte
	// value has the length of the table's values, and get fills it; or, in a table of byte strings, get appends to
	// it.
	value []byte
	// h is the hash of key.
	h uint64
	// found is the answer: whether there is an entry with that key.
	found bool
}

// get copies the value of q.key out, and returns it; q.found reports whether there is one. It takes no lock unless
// the partition changes at each of its tries, or the entry's memory is not mapped here; then it waits for the lock
// until ctx is over. The error is that of find.
func (t *core) get(ctx context.Context, q *lookup) (out []byte, err error) {
	if q.h = hashOf(q.key, t.seed); lockless {
		// After the end the bytes may be private pages, whose zeros are an empty table.
		if out, ok := t.readOptimistic(q); ok && !t.ends.Ended() {
			return out, nil
		}
	}
	return t.getShared(ctx, q)
}

// getShared does what get does, and holds the lock of the partition shared while it does so.
func (t *core) getShared(ctx context.Context, q *lookup) (out []byte, err error) {
	var e entry
	defer t.dropLock(&e)
	q.found = false
	if found, err := t.find(ctx, q.key, false, &e); !found {
		return q.value, err
	}
	err = t.containedHold(&e, func() error {
		_, value, ok := e.keyValue()
		if !ok {
			return corrupt("the item at %v is longer than its segment", e.ptr)
		}
		out = t.copyOut(q, value)
		return nil
	})
	if q.found = err == nil; !q.found {
		return q.value, err
	}
	return out, nil
}

// copyOut returns q.value with the given bytes in it or, in a table of byte strings, appended to it.
func (t *core) copyOut(q *lookup, value []byte) []byte {
	if t.kind == kindBytes {
		return append(q.value, value...)
	}
	assign(q.value, value)
	return q.value
}

// readOptimistic looks without the lock, some times if need be, and reports whether what it found was true at some
// moment of the call. What it reads may be unmapped by another goroutine: the fault is a panic that ends in ok being
// false. Other panics go on.
func (t *core) readOptimistic(q *lookup) (out []byte, ok bool) {
	old := debug.SetPanicOnFault(true)
	defer func() {
		if !ok {
			debug.SetPanicOnFault(old)
			recoverFault(recover())
		}
	}()
	for try := 0; try < tries && !ok; try++ {
		out, ok = t.readOptimisticOnce(q)
	}
	if ok {
		debug.SetPanicOnFault(old)
	}
	return out, ok
}

// readOptimisticOnce looks once, and reports whether its answer holds. What it reads may be freed while it does so,
// and used for something else; but before that the partition's version goes up. So it loads the version first and
// last.
func (t *core) readOptimisticOnce(q *lookup) (out []byte, ok bool) {
	i := t.partOf(q.h)
	p := &t.parts[i]
	seen := p.version.Load()
	// An item is being overwritten, or its writer has died there. It may be any entry's, so the lock decides.
	if seen&1 != 0 {
		return nil, false
	}
	// The arrays are those of this moment. If another array comes in their place later, the version goes up before
	// the first entry moves there, and once more before the old array is freed: so what is missed for that reason is
	// not believed.
	v, ok := t.knownView(i)
	if !ok {
		v, ok = t.viewUnlocked(i, seen)
	}
	// Without lines the partition was empty at the moment when its word array read 0.
	if q.found = false; !ok || len(v.lines) == 0 {
		return q.value, ok
	}
	failpoint.Hit("dshash/look/begun")
	var at dsa.Pointer
	var b []byte
	if v.busy == nil {
		_, _, at, b, ok = t.searchLines(v.lines, q.h, q.key)
	} else {
		at, b, ok = t.searchBoth(v, q.h, q.key)
	}
	if !ok {
		return nil, false
	}
	out = q.value
	if at != 0 {
		// An item of fixed size is in b as a whole: search returns no other. The lengths in an item of bytes are those
		// of this moment, which may be those of whatever the memory is used for now. This refuses lengths that reach
		// beyond the item's segment.
		from, to := t.valueAt, t.size
		if t.kind == kindBytes {
			if _, from, to, ok = t.splitItem(b); !ok {
				return nil, false
			}
			if to-from > cap(out)-len(out) {
				if ordered.LoadLoad(); p.version.Load() != seen { // before a wrong length is believed
					return nil, false
				}
			}
		}
		out = t.copyOut(q, b[from:to])
		q.found = true
	}
	failpoint.Hit("dshash/look/copied")
	// The loads of slot and item are done before the version is loaded again.
	ordered.LoadLoad()
	return out, p.version.Load() == seen
}

// readWordOptimistic looks once, without the lock, and fills value if there is an entry. It reports whether there is
// one and, by ok, whether the answer holds; if not, the caller asks get, and what is in value means nothing. Taking
// one piece saves a fifth of a lookup. See read.go for what makes the answer right.
func (t *core) readWordOptimistic(key, value []byte) (found, ok bool) {
	old := debug.SetPanicOnFault(true)
	defer func() {
		if !ok {
			debug.SetPanicOnFault(old)
			recoverFault(recover())
		}
	}()
	k := binary.NativeEndian.Uint64(key)
	h := hashWord(k, t.seed)
	i := t.partOf(h)
	p := &t.parts[i]
	seen := p.version.Load()
	v := t.seen[i].Load()
	if !v.current(p, t.area.Returned()) {
		return false, false
	}
	if v.busy != nil {
		return false, false
	}
	_, _, at, b, whole := t.searchWord(v.lines, h, k)
	// Ok stays false until everything has been read, so that a fault is recovered.
	if !whole {
		return false, false
	}
	if found = at != 0; found {
		assign(value, b[t.valueAt:t.size])
	}
	ordered.LoadLoad()
	// An odd version does not equal seen&^1: an item was being overwritten. Found means nothing once the view has ended:
	// zeros that were read from private pages are no answer.
	if p.version.Load() != seen&^1 || t.ends.Ended() {
		return false, false
	}
	debug.SetPanicOnFault(old)
	return found, true
}

// recoverFault swallows a fault that recover has returned, or nil. A panic with any other value goes on.
func recoverFault(r any) {
	if r == nil {
		return
	}
	if _, ok := r.(interface{ Addr() uintptr }); !ok {
		panic(r)
	}
}
