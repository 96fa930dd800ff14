package dshash

import (
	"context"
	"runtime/debug"

	"github.com/godsm/godsm/internal/ordered"
)

// tries is how often a reader looks without the lock before it takes it.
const tries = 4

// get copies a value out: into dst, whose size is the values', or, of bytes, behind what is in dst.
func (t *core) get(ctx context.Context, key, dst []byte) (out []byte, found bool, err error) {
	h := hashOf(key, t.seed)
	if lockless {
		for range tries {
			if out, found, ok := t.glance(h, key, dst); ok {
				return out, found, nil
			}
		}
	}
	return t.getLocked(ctx, key, dst)
}

func (t *core) getLocked(ctx context.Context, key, dst []byte) (out []byte, found bool, err error) {
	var e entry
	found, err = e.find(ctx, t, key, false)
	if !found || err != nil {
		return dst, false, err
	}
	defer e.release()
	return t.copyOut(dst, e.value()), true, nil
}

func (t *core) copyOut(dst, value []byte) []byte {
	if t.kind == kindFixed {
		copy(dst, value)
		return dst
	}
	return append(dst, value...)
}

// glance looks without the lock: ok says that what it found was true at some moment of the call. What it reads may be freed, used for
// something else or unmapped meanwhile. Before the first two the partition's version goes up, so it looks at that last of all; the third
// is a fault.
func (t *core) glance(h uint64, key, dst []byte) (out []byte, found, ok bool) {
	old := debug.SetPanicOnFault(true)
	defer func() {
		debug.SetPanicOnFault(old)
		if !ok {
			recoverFault(recover())
		}
	}()
	i := t.part(h)
	p := &t.parts[i]
	seen := p.version.Load()
	ls, ok := t.known(i)
	if !ok || len(ls) == 0 {
		return dst, false, ok
	}
	ok = false
	_, _, at, b, whole := t.search(ls, h, key)
	if !whole {
		return dst, false, false
	}
	if at != 0 {
		_, from, to, whole := t.split(b)
		if !whole {
			return dst, false, false
		}
		if t.kind != kindFixed && to-from > cap(dst)-len(dst) {
			if ordered.LoadLoad(); p.version.Load() != seen { // before a wrong length is believed
				return dst, false, false
			}
		}
		dst = t.copyOut(dst, b[from:to])
	}
	ordered.LoadLoad()
	return dst, at != 0, p.version.Load() == seen
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
