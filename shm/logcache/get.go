package logcache

import (
	"bytes"
	"context"
	"runtime/debug"

	"github.com/godsm/godsm/internal/eviction"
	"github.com/godsm/godsm/internal/fault"
	"github.com/godsm/godsm/internal/ordered"
)

// rounds is how often a Get looks again when other processes change what it looks at, before it is a miss.
const rounds = 32

// Get appends the value of key to dst, and returns that. It takes no lock and waits for no one: if others change the entry
// again and again while Get looks at it, the entry is not found. A hit makes the entry stay longer.
func (c *Cache) Get(key, dst []byte) (value []byte, found bool, err error) {
	if c.view.Ended() {
		return dst, false, c.closed()
	}
	h := hashOf(kindValue, key, c.seed)
	if value, found, err = c.get(h, key, dst); c.view.Ended() {
		return dst, false, c.closed()
	}
	return value, found, err
}

func (c *Cache) get(h hash, key, dst []byte) (value []byte, found bool, err error) {
	old, whole := debug.SetPanicOnFault(true), false
	defer func() {
		debug.SetPanicOnFault(old)
		if !whole {
			value, found, err = dst, false, gone(fault.Of(recover()))
		}
	}()
	value, found, err = c.look(h, key, dst)
	c.sample(h)
	whole = true
	return value, found, err
}

func gone(err error) error {
	return corrupt("bytes are gone from under their mapping: the object was truncated, or its file system failed (%w)", err)
}

// look is Get, where faults are panics. A value in pieces whose head has been replaced meanwhile is looked for again.
func (c *Cache) look(h hash, key, dst []byte) ([]byte, bool, error) {
	last := pieces{}
	for range rounds {
		out, kind, found, err := c.lookUp(h, kindValue, key, dst)
		if !found || kind != kindHead {
			return out, found, err
		}
		p, ok := parseHead(out[len(dst):], c.MaxValue())
		if !ok || p == last {
			break
		}
		if out, found, err = c.gather(p, out[:len(dst)]); found || err != nil {
			return out, found, err
		}
		last = p
	}
	return dst, false, nil
}

// lookUp appends the value of the record of a key to dst.
func (c *Cache) lookUp(h hash, kind uint8, key, dst []byte) (out []byte, is uint8, found bool, err error) {
	i := h.shard(c.nshards)
	if !lockless {
		t, err := c.lock(context.Background(), i)
		if err != nil {
			return dst, 0, false, err
		}
		defer t.unlock()
		out, is, found = c.search(i, h, kind, key, dst)
		t.done = true
		return out, is, found, nil
	}
	out, is, found = c.search(i, h, kind, key, dst)
	return out, is, found, nil
}

// search looks for a key in its two lines. A slot is right if its extent's life is the slot's, before the record is read
// and after: a life goes up before the extent's bytes are written to again. A slot whose life is wrong and whose word is
// unchanged leads nowhere; if the word has changed another process has moved the entry, and the search begins again.
func (c *Cache) search(i int, h hash, kind uint8, key, dst []byte) (out []byte, is uint8, found bool) {
	s := &c.shards[i]
	for range rounds {
		reach, again := s.reach.Load(), false
		for second := range 2 {
			l := c.lineOf(i, h, second, reach)
			if l == nil {
				continue
			}
			for k := range l.slots {
				w := slot(l.slots[k].Load())
				if w == 0 || w.tag() != h.tag() || w.second() != second {
					continue
				}
				out, is, what := c.read(w, kind, key, dst)
				if what == right {
					if lockless && l.hits[k] < eviction.MaxHits {
						l.hits[k]++
					}
					return out, is, true
				}
				again = again || what == changed && slot(l.slots[k].Load()) != w
			}
		}
		if !again && s.reach.Load() == reach {
			break
		}
	}
	return dst, 0, false
}

// What reading a slot's record has found.
const (
	other   = iota // the record of another key, or none
	right          // the key's
	changed        // the extent's life is not, or no longer, the slot's
)

// read copies the value out of a slot's record, if it is the key's.
func (c *Cache) read(w slot, kind uint8, key, dst []byte) (out []byte, is uint8, what int) {
	e := w.extent()
	if e == 0 || int(e) > c.extents() {
		return dst, 0, other
	}
	life := c.lives[e-1].Load()
	if life&lifeMask != w.life() {
		return dst, 0, changed
	}
	r, ok := parse(c.extentOf(e), w.offset(), c.extent)
	what = other
	if ok && keyKind(r.kind) == kind && bytes.Equal(r.key, key) && !c.expired(r.expires) {
		what, out = right, dst
		if len(r.value) > cap(dst)-len(dst) { // before a wrong length is believed
			if ordered.LoadLoad(); c.lives[e-1].Load() != life {
				return dst, 0, changed
			}
		}
		out = append(out, r.value...)
	}
	if ordered.LoadLoad(); c.lives[e-1].Load() != life {
		return dst, 0, changed
	}
	if what == right && c.checked {
		r.value = out[len(dst):]
		if !r.whole(c.place(e, c.rows[e-1].number.Load(), w.offset())) {
			if c.lives[e-1].Load() != life {
				return dst, 0, changed
			}
			return dst, 0, other
		}
	}
	return out, r.kind, what
}

func (c *Cache) expired(at uint32) bool { return at != 0 && c.now != nil && c.now() >= at }
