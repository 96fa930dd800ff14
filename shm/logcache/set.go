package logcache

import (
	"context"
	"fmt"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/eviction"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/sys/fault"
)

// Set makes value the key's, at once and for all processes, until it is evicted, deleted or replaced, or the time of
// Options.Now is expires; 0 is never. It makes room by dropping other entries, with bounded work. It waits for the
// lock of one shard until ctx is over. A process that holds the lock and is stopped makes it wait, one that died does
// not.
//
// A value over MaxValue, or a key over MaxKey, is ErrSize. A value over an eighth of an extent is set in pieces, each of
// which takes its shard's lock; it is there when the last one is, and its old value until then.
func (c *Cache) Set(ctx context.Context, key, value []byte, expires uint32) (err error) {
	_, err = c.set(ctx, &record{kind: kindValue, expires: expires, key: key, value: value}, Condition{})
	return err
}

// set sets an entry, if the condition holds. It reports whether it has.
func (c *Cache) set(ctx context.Context, r *record, when Condition) (done bool, err error) {
	key, value := r.key, r.value
	if len(key) > c.MaxKey() || len(value) > c.MaxValue() {
		return false, errkind.As(ErrSize, fmt.Errorf("logcache: a key of %d bytes and a value of %d: there is room for %d and %d",
			len(key), len(value), c.MaxKey(), c.MaxValue()))
	}
	if c.view.Ended() {
		return false, c.closed()
	}
	h := hashOf(kindValue, key, c.seed)
	if r.size() > c.maxRecord() {
		done, err = c.setPieces(ctx, h, r, when)
	} else {
		var old pieces
		if old, done, err = c.put(ctx, h, r, automatic, when); err == nil && old != (pieces{}) {
			c.dropPieces(ctx, old)
		}
	}
	c.tune()
	return done, c.orClosed(err)
}

// Where a record goes.
const (
	automatic = iota
	toMain
)

// put sets one record, if the condition holds, and reports whether it has. It returns the pieces of the value that was
// there before.
func (c *Cache) put(ctx context.Context, h hash, r *record, where int, when Condition) (old pieces, done bool, err error) {
	defer fault.Return(&err, fault.Catch())
	c.touch(h)
	t, err := c.lockIf(ctx, h.shard(c.nshards), when.what == idle)
	if t == nil {
		return old, false, err
	}
	defer t.unlock()
	ok := false
	for range 2 {
		if old, done, ok = t.putLocked(h, r, where, when); t.doubt == "" {
			break
		}
		t.repairLocked()
	}
	if t.done = true; !ok {
		return old, false, corrupt("shard %d has no place for a record, after a repair", t.i)
	}
	return old, done, nil
}

// putLocked makes room, appends the record and stores its slot. It runs under the shard's lock.
func (t *turn) putLocked(h hash, r *record, where int, when Condition) (old pieces, done, ok bool) {
	c, kind := t.c, keyKind(r.kind)
	cl, p := &t.cleaner, &t.policy
	*cl, *p = cleaner{turn: t}, t.policyLocked()
	is, was, there := t.findLocked(h, kind, r.key)
	if when != (Condition{}) && !t.holdsLocked(when, is, &was, there) {
		return old, false, true
	}
	to := eviction.Window // an entry that is set again and again stays there, and its old records are gone soon
	e := eviction.Entry{Hash: h.forPolicy(), Size: r.size()}
	switch {
	case where == toMain:
		to = eviction.Main
	case !there:
		to = p.Enter(cl, e)
	}
	cl.roomLocked(p, r.size())
	at, off, ok := t.appendLocked(to, r, 0)
	if !ok {
		cl.freeLocked(1)
		if at, off, ok = t.appendLocked(to, r, 0); !ok {
			t.markDirtyLocked("an extent is free, and has no room")
			return old, false, false
		}
	}
	s, before := is, was
	if there { // it may have been moved, or dropped, to make room
		s, before, there = t.findLocked(h, kind, r.key)
	}
	hits := uint8(0)
	switch {
	case there:
		if hits = min(s.l.hits[s.k]+1, eviction.MaxHits); before.kind == kindHead {
			old, _ = parseHead(before.value, c.MaxValue())
		}
		t.countDeadLocked(s.word(), before.size())
	default:
		if s, ok = t.placeLocked(h); !ok {
			t.markDirtyLocked("a key has no line")
			return old, false, false
		}
		switch w := s.word(); {
		case w == 0:
			t.s.entries.Store(t.s.entries.Load() + 1)
		case c.slotLeads(w):
			t.countDeadLocked(w, r.size()) // about
			t.s.crowded.Add(1)
			t.s.evicted.Add(1)
		}
	}
	s.l.hits[s.k] = hits
	failpoint.Hit("logcache/put/counted")
	if kind == kindValue && t.s.loads.Load() != 0 && when.what != idle {
		t.overtakeLocked(h, when)
		failpoint.Hit("logcache/put/overtaken")
	}
	s.l.slots[s.k].Store(uint64(slotOf(h, s.second, at, c.lives[at-1].Load(), off)))
	failpoint.Hit("logcache/put/stored")
	if when.what == during {
		t.endLoadLocked(when.claim)
	}
	t.growLocked()
	return old, true, true
}
