package logcache

import (
	"bytes"
	"math/bits"

	"github.com/godsm/godsm/internal/eviction"
	"github.com/godsm/godsm/internal/failpoint"
)

// The index of a shard is an array of lines that grows by linear hashing. A key has two lines. Number n of a line is,
// with as many first lines as there were at first, the hash's base and, above that, low bits of the tag.

// reachOf splits the word: how often the index has doubled, and how many lines have been split since.
func (c *Cache) reachOf(reach uint64) (doubled, split int) {
	return min(int(reach>>32&0xff), doublings), int(min(reach&(1<<32-1), uint64(c.nlines<<doublings)))
}

// lineOf returns a key's first or second line, nil if the index is garbled.
func (c *Cache) lineOf(i int, h hash, second int, reach uint64) *line {
	base := h.base(c.nlines)
	if second > 0 {
		base = otherBase(base, h.tag(), c.nlines)
	}
	return c.lineAt(i, c.number(base, h.tag(), reach))
}

// number returns that of the line with a base and a tag.
func (c *Cache) number(base int, tag, reach uint64) int {
	doubled, split := c.reachOf(reach)
	n := base + c.nlines*int(tag&(1<<doubled-1))
	if n < split {
		n = base + c.nlines*int(tag&(2<<doubled-1))
	}
	return n
}

// lineAt returns line n of shard i, nil if the index is not so large.
func (c *Cache) lineAt(i, n int) *line {
	if n < c.nlines {
		return &c.lines[i*c.nlines+n]
	}
	chunk, at := (n-c.nlines)>>c.chunkBits, (n-c.nlines)&(1<<c.chunkBits-1)
	if chunk >= maxChunks {
		return nil
	}
	e := c.shards[i].chunks[chunk].Load()
	if e == 0 || e > uint32(c.extents()) {
		return nil
	}
	return &c.grown[(int(e)-1)<<c.chunkBits+at]
}

// lineCount returns how many lines shard i has.
func (c *Cache) lineCount(i int) int {
	doubled, split := c.reachOf(c.shards[i].reach.Load())
	return c.nlines<<doubled + split
}

// searchLines looks for a key in its two lines. A slot is right if its extent's life is the slot's, before the record
// is read and after: a life goes up before the extent's bytes are written to again. A slot whose life is wrong and
// whose word is unchanged leads nowhere; if the word has changed another process has moved the entry, and the search
// begins again.
func (c *Cache) searchLines(i int, h hash, q *query, key, dst []byte) (out []byte, found bool) {
	s := &c.shards[i]
	for range rounds {
		reach, again := s.reach.Load(), false
		for second := range 2 {
			l := c.lineOf(i, h, second, reach)
			if l == nil {
				continue
			}
			want := h.tag()<<1 | uint64(second)
			for m := l.match(want); m != 0; m &= m - 1 {
				k := bits.TrailingZeros64(m)
				w := slot(l.slots[k].Load())
				if w == 0 || uint64(w>>secondShift) != want {
					continue
				}
				out, what := c.readRecord(w, q, key, dst)
				if what == right {
					if lockless && l.hits[k] < eviction.MaxHits && !q.quiet {
						l.hits[k]++
					}
					return out, true
				}
				again = again || what == changed && slot(l.slots[k].Load()) != w
			}
		}
		if !again && s.reach.Load() == reach {
			break
		}
	}
	return dst, false
}

// spot is a slot's place; the zero one is none.
type spot struct {
	l      *line
	k      int
	second int
}

func (p spot) word() slot { return slot(p.l.slots[p.k].Load()) }

// findLocked finds the slot of a key, and its record. It runs under the shard's lock.
func (t *turn) findLocked(h hash, kind uint8, key []byte) (p spot, r record, found bool) {
	c := t.c
	reach := t.s.reach.Load()
	for second := range 2 {
		l := c.lineOf(t.i, h, second, reach)
		if l == nil {
			continue
		}
		for k := range l.slots {
			w := slot(l.slots[k].Load())
			if w == 0 || w.tag() != h.tag() || w.second() != second || !c.slotLeads(w) {
				continue
			}
			r, ok := parse(c.extentOf(w.extent()), w.offset(), c.extent)
			if ok && keyKind(r.kind) == kind && bytes.Equal(r.key, key) {
				return spot{l, k, second}, r, true
			}
		}
	}
	return p, r, false
}

// spotLocked finds the slot that names the record at off of an extent; it is in one of the two lines of the record's
// key. It runs under the shard's lock.
func (t *turn) spotLocked(h hash, e uint32, off int) (p spot, found bool) {
	reach := t.s.reach.Load()
	for second := range 2 {
		l := t.c.lineOf(t.i, h, second, reach)
		if l == nil {
			continue
		}
		for k := range l.slots {
			if w := slot(l.slots[k].Load()); w != 0 && w.extent() == e && w.offset() == off {
				return spot{l, k, second}, true
			}
		}
	}
	return p, false
}

// placeLocked finds a slot for a new entry: an empty one, or one that leads nowhere, or if both lines are full that of
// the coldest entry. The first line is taken as long as it has room, so that most lookups end there. It runs under the
// shard's lock.
func (t *turn) placeLocked(h hash) (p spot, ok bool) {
	c := t.c
	reach := t.s.reach.Load()
	if l := c.lineOf(t.i, h, 0, reach); l != nil {
		for k := range l.slots {
			if l.slots[k].Load() == 0 {
				return spot{l, k, 0}, true
			}
		}
	}
	var coldest uint64
	best := 0 // empty slots of the line of p
	for second := range 2 {
		l := c.lineOf(t.i, h, second, reach)
		if l == nil {
			continue
		}
		empty, first := 0, 0
		for k := range l.slots {
			w := slot(l.slots[k].Load())
			if w == 0 || !c.slotLeads(w) {
				empty, first = empty+1, k
				continue
			}
			number := c.rows[w.extent()-1].number.Load() & (1<<56 - 1)
			if cold := uint64(l.hits[k])<<56 | number; best == 0 && empty == 0 && (p.l == nil || cold < coldest) {
				p, coldest = spot{l, k, second}, cold
			}
		}
		if empty > best {
			p, best = spot{l, first, second}, empty
		}
		if best > 0 {
			break
		}
	}
	if best == 0 {
		for second := range 2 {
			if p, ok := t.displaceLocked(h, second, reach); ok {
				return p, true
			}
		}
	}
	return p, p.l != nil
}

// displaceLocked puts one entry of a key's full line into its own other line, and returns its slot. Readers that have
// looked at that one already look again, since reach changes. It runs under the shard's lock.
func (t *turn) displaceLocked(h hash, second int, reach uint64) (p spot, ok bool) {
	c, s := t.c, t.s
	base := h.base(c.nlines)
	if second > 0 {
		base = otherBase(base, h.tag(), c.nlines)
	}
	from := c.lineAt(t.i, c.number(base, h.tag(), reach))
	if from == nil {
		return p, false
	}
	for k := range from.slots {
		w := slot(from.slots[k].Load())
		to := c.lineAt(t.i, c.number(otherBase(base, w.tag(), c.nlines), w.tag(), reach))
		if to == nil || to == from {
			continue
		}
		for j := range to.slots {
			if to.slots[j].Load() != 0 {
				continue
			}
			s.moving.Store(uint64(w))
			failpoint.Hit("logcache/displace/noted")
			to.hits[j] = from.hits[k]
			to.slots[j].Store(uint64(w ^ 1<<secondShift))
			failpoint.Hit("logcache/displace/copied")
			s.reach.Store(reach + oneMove)
			from.slots[k].Store(0)
			failpoint.Hit("logcache/displace/cleared")
			s.moving.Store(0)
			return spot{from, k, second}, true
		}
	}
	return p, false
}

// oneMove is what reach changes by when an entry is put into its other line. It is above what says how large the index
// is.
const oneMove = 1 << 40

// growLocked splits one line if the index is filled to 70 %. It runs under the shard's lock. The new line is written
// first; then reach names it, in one store; then what has moved is cleared in the old one.
func (t *turn) growLocked() {
	c, s := t.c, t.s
	if !t.crowdedLocked() {
		return
	}
	doubled, split := c.reachOf(s.reach.Load())
	if doubled >= doublings || split >= c.nlines<<doubled || !t.chunkLocked() {
		return
	}
	from, to := c.lineAt(t.i, split), c.lineAt(t.i, c.nlines<<doubled+split)
	if from == nil || to == nil {
		return
	}
	for k := range to.slots {
		w := from.slots[k].Load()
		if slot(w).tag()>>doubled&1 == 0 {
			w = 0
		}
		to.hits[k] = from.hits[k]
		to.slots[k].Store(w)
	}
	failpoint.Hit("logcache/grow/copied")
	next := s.reach.Load() + 1
	if split+1 == c.nlines<<doubled {
		next = s.reach.Load()&^(1<<32-1) + 1<<32
	}
	s.reach.Store(next)
	failpoint.Hit("logcache/grow/reached")
	clearMoved(from, doubled)
	failpoint.Hit("logcache/grow/cleared")
}

// clearMoved clears the slots of a line that was split whose tags say that they are in the other one.
func clearMoved(from *line, doubled int) {
	for k := range from.slots {
		if w := slot(from.slots[k].Load()); w != 0 && w.tag()>>doubled&1 == 1 {
			from.slots[k].Store(0)
		}
	}
}

// crowdedLocked reports whether 70 % of the slots are in use. It runs under the shard's lock.
func (t *turn) crowdedLocked() bool {
	return t.s.entries.Load()*10 > uint64(t.c.lineCount(t.i))*slotsPerLine*7
}

// wantsChunkLocked reports whether the index can grow, but not without another extent. It runs under the shard's lock.
func (t *turn) wantsChunkLocked() bool {
	c := t.c
	n := c.lineCount(t.i)
	chunk := (n - c.nlines) / (c.extent / lineSize)
	return n >= c.nlines && n < c.nlines<<doublings && chunk < maxChunks && t.s.chunks[chunk].Load() == 0
}

// chunkLocked ensures that the next line has an extent, if one is free beside those that a Set may need, and reports
// whether it has one. It runs under the shard's lock.
func (t *turn) chunkLocked() bool {
	if !t.wantsChunkLocked() {
		return true
	}
	if t.s.free.Load() < 3 {
		return false
	}
	chunk := (t.c.lineCount(t.i) - t.c.nlines) / (t.c.extent / lineSize)
	if chunk >= t.c.each/2 {
		return false
	}
	e, ok := t.takeExtentLocked(stateLines, uint64(chunk))
	if !ok {
		return false
	}
	t.s.index.Add(1)
	failpoint.Hit("logcache/grow/taken")
	t.s.chunks[chunk].Store(e)
	failpoint.Hit("logcache/grow/chunk")
	return true
}
