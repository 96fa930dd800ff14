package logcache

import (
	"bytes"
	"context"
	"math/bits"
	"runtime/debug"

	"github.com/godsm/godsm/internal/eviction"
	"github.com/godsm/godsm/internal/sys/fault"
	"github.com/godsm/godsm/internal/sys/ordered"
)

// rounds is how often a Get looks again when other processes change what it looks at, before it is a miss.
const rounds = 32

// Get appends the value of key to dst, and returns that. It takes no lock and waits for no one: if others change the
// entry again and again while Get looks at it, the entry is not found. A hit makes the entry stay longer.
func (c *Cache) Get(key, dst []byte) (value []byte, found bool, err error) {
	if c.view.Ended() {
		return dst, false, c.closed()
	}
	h := hashOf(kindValue, key, c.seed)
	old, whole, used := debug.SetPanicOnFault(true), false, false
	defer func() {
		if !whole {
			debug.SetPanicOnFault(old)
			value, found, err = dst, false, c.orClosed(errIfGone(fault.Of(recover())))
		}
	}()
	if value, found = c.copyPlain(h, key, dst); !found {
		q := query{kind: kindValue}
		value, found, err = c.lookContained(h, &q, key, dst)
		used = q.used
	}
	c.sample(h)
	whole = true
	debug.SetPanicOnFault(old)
	if c.view.Ended() {
		return dst, false, c.closed()
	}
	if used {
		c.refreshUsed(h, key)
	}
	return value, found, err
}

// query is what a lookup wants, and what it has found beside the value.
type query struct {
	kind  uint8
	quiet bool // it is not a hit
	bare  bool // the value is not wanted

	is   uint8 // the record's kind
	used bool  // the entry should be prolonged
	all  *all  // if not nil, what is stale or absent is wanted, too
}

// all is what is found beside the value.
type all struct {
	said  Entry
	stamp Stamp
}

func (c *Cache) get(h hash, q *query, key, dst []byte) (value []byte, found bool, err error) {
	old, whole := debug.SetPanicOnFault(true), false
	defer func() {
		debug.SetPanicOnFault(old)
		if !whole {
			value, found, err = dst, false, errIfGone(fault.Of(recover()))
		}
	}()
	if lockless {
		value, found = c.searchLines(h.shard(c.nshards), h, q, key, dst)
	}
	if !lockless || found && q.is == kindHead && !q.bare {
		value, found, err = c.lookContained(h, q, key, dst)
	}
	if !q.quiet {
		c.sample(h)
	}
	whole = true
	return value, found, err
}

// lookContained does what Get does; a fault is a panic. A value in pieces is looked for again if its head was replaced
// during the look.
func (c *Cache) lookContained(h hash, q *query, key, dst []byte) ([]byte, bool, error) {
	last := pieces{}
	for range rounds {
		out, found, err := c.lookUp(h, q, key, dst)
		if !found || q.is != kindHead || q.bare {
			return out, found, err
		}
		p, ok := parseHead(out[len(dst):], c.MaxValue())
		if !ok || p == last {
			break
		}
		if out, found, err = c.gather(p, out[:len(dst)], q.quiet); found || err != nil {
			return out, found, err
		}
		last = p
	}
	return dst, false, nil
}

// lookUp appends the value of the record of a key to dst.
func (c *Cache) lookUp(h hash, q *query, key, dst []byte) (out []byte, found bool, err error) {
	i := h.shard(c.nshards)
	if !lockless {
		t, err := c.lock(context.Background(), i)
		if err != nil {
			return dst, false, err
		}
		defer t.unlock()
		out, found = c.searchLines(i, h, q, key, dst)
		t.done = true
		return out, found, nil
	}
	out, found = c.searchLines(i, h, q, key, dst)
	return out, found, nil
}

// match returns a bit for each slot of a line that bears a tag and a second. It takes no branch, since which slot it is
// cannot be foretold.
func (l *line) match(want uint64) (m uint64) {
	for k := range l.slots {
		m |= ((l.slots[k].Load()>>secondShift ^ want) - 1) >> 63 << k
	}
	return m
}

// nearBytes is how many bytes of a record copyPlain asks the processor for at once, before it knows how long the
// record is.
const nearBytes = 256

// prefetch loads one word of each of the lines of memory that a record's first nearBytes bytes are in, but for the first
// line: so that the processor waits for all of them at the same time, and not first for the record's header and then, since
// that says where the value ends, for the last line.
func prefetch(extent []byte, off int) {
	b := extent[off : off+nearBytes]
	wordAt(b, 64).Load()
	wordAt(b, 128).Load()
	wordAt(b, 192).Load()
	wordAt(b, nearBytes-8).Load()
}

// What reading a slot's record has found.
const (
	other   = iota // the record of another key, or none
	right          // the key's
	changed        // the extent's life is not, or no longer, the slot's
)

// copyPlain does what most Gets need, and touches nothing else: it finds a value without flags, whose slot is the first
// one of the key's first line that bears the key's tag, and for which dst has room. It reports whether it has. Whatever it
// has any doubts about it leaves to lookContained.
func (c *Cache) copyPlain(h hash, key, dst []byte) (out []byte, found bool) {
	if !lockless || c.checked {
		return dst, false
	}
	l := c.firstLine(h)
	if l == nil {
		return dst, false
	}
	m := l.match(h.tag() << 1)
	if m == 0 {
		return dst, false
	}
	k := bits.TrailingZeros64(m) % slotsPerLine
	w := slot(l.slots[k].Load())
	e, off := w.extent(), w.offset()
	if e == 0 || int(e) > c.extents() || off+nearBytes > c.extent {
		return dst, false
	}
	x := c.extentOf(e)
	prefetch(x, off)
	life := c.lives[e-1].Load()
	first, second := wordAt(x, off).Load(), wordAt(x, off+8).Load()
	value := x[off+recordHeader:]
	if life&lifeMask != w.life() || first>>32 != uint64(len(key)) || len(key) > len(value) || !bytes.Equal(value[:len(key)], key) {
		return dst, false
	}
	value = value[len(key):]
	n := first & (1<<32 - 1)
	if n > uint64(len(value)) || n > uint64(cap(dst)-len(dst)) || uint32(second) != 0 && c.expired(uint32(second)) {
		return dst, false
	}
	out = append(dst, value[:n]...)
	if ordered.LoadLoad(); c.lives[e-1].Load() != life {
		return dst, false
	}
	if l.hits[k] < eviction.MaxHits {
		l.hits[k]++
	}
	return out, true
}

func (c *Cache) expired(at uint32) bool { return at != 0 && c.now != nil && c.now() >= at }
