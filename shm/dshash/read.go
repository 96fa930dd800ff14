package dshash

import (
	"context"
	"runtime/debug"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/sys/ordered"
	"github.com/godsm/godsm/shm/dsa"
)

// tries is how often a reader looks without the lock before it takes it.
const tries = 4

// lookup is a question. Its slices are not stored to, so that they can stay on the asker's stack.
type lookup struct {
	key   []byte
	value []byte // of fixed size, to be filled; or, of bytes, to be appended to
	h     uint64
	found bool // the answer
}

// get copies a value out, and returns it.
func (t *core) get(ctx context.Context, q *lookup) (out []byte, err error) {
	if q.h = hashOf(q.key, t.seed); lockless {
		if out, ok := t.glance(q); ok && !t.ends.Ended() {
			return out, nil
		}
	}
	return t.getLocked(ctx, q)
}

func (t *core) getLocked(ctx context.Context, q *lookup) (out []byte, err error) {
	var e entry
	defer e.unlock()
	q.found = false
	if found, err := t.find(ctx, q.key, false, &e); !found {
		return q.value, err
	}
	err = t.within(&e, func() error {
		_, value, ok := e.parts()
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

func (t *core) copyOut(q *lookup, value []byte) []byte {
	if t.kind == kindBytes {
		return append(q.value, value...)
	}
	assign(q.value, value)
	return q.value
}

// glance looks without the lock, and reports whether what it found was true at some moment of the call. What it reads
// may be unmapped meanwhile: a fault.
func (t *core) glance(q *lookup) (out []byte, ok bool) {
	old := debug.SetPanicOnFault(true)
	defer func() {
		if !ok {
			debug.SetPanicOnFault(old)
			recoverFault(recover())
		}
	}()
	for try := 0; try < tries && !ok; try++ {
		out, ok = t.look(q)
	}
	if ok {
		debug.SetPanicOnFault(old)
	}
	return out, ok
}

// look looks once. What it reads may be freed meanwhile, and used for something else: before that the partition's
// version goes up, so it looks at that last of all.
func (t *core) look(q *lookup) (out []byte, ok bool) {
	i := t.part(q.h)
	p := &t.parts[i]
	seen := p.version.Load()
	if seen&1 != 0 { // an item is not whole
		return nil, false
	}
	v, ok := t.known(i)
	if !ok {
		v, ok = t.learn(i, seen)
	}
	if q.found = false; !ok || len(v.lines) == 0 {
		return q.value, ok
	}
	failpoint.Hit("dshash/look/begun")
	var at dsa.Pointer
	var b []byte
	if v.busy == nil {
		_, _, at, b, ok = t.search(v.lines, q.h, q.key)
	} else {
		at, b, ok = t.searchBoth(v, q.h, q.key)
	}
	if !ok {
		return nil, false
	}
	out = q.value
	if at != 0 {
		// An item of fixed size is in b as a whole: search returns no other. The lengths in an item of bytes are those of
		// this moment, which may be those of whatever the memory is used for now.
		from, to := t.valueAt, t.size
		if t.kind == kindBytes {
			if _, from, to, ok = t.split(b); !ok {
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
	ordered.LoadLoad()
	return out, p.version.Load() == seen
}

// searchBoth looks in both arrays, without the lock: in the old one first, since an entry that moves is in the other before
// it is gone from there.
func (t *core) searchBoth(v *view, h uint64, key []byte) (at dsa.Pointer, b []byte, ok bool) {
	if _, _, at, b, ok = t.search(v.busy.old, h, key); at != 0 || !ok {
		return at, b, ok
	}
	failpoint.Hit("dshash/look/between")
	_, _, at, b, ok = t.search(v.lines, h, key)
	return at, b, ok
}

// recoverFault lets panics go on that are no faults.
func recoverFault(r any) {
	if r == nil {
		return
	}
	if _, ok := r.(interface{ Addr() uintptr }); !ok {
		panic(r)
	}
}
