package logcache

import (
	"bytes"
	"context"
	"fmt"

	"github.com/godsm/godsm/internal/eviction"
	"github.com/godsm/godsm/internal/sys/fault"
)

// Report is what Verify has found.
type Report struct {
	Entries int // whose records are whole
	Live    int // bytes of their records, with headers and rounding
	Log     int // bytes of the extents that are not of the index
	Free    int // extents
	Index   int // extents with lines that the index has grown by
	// Wrong are the things that cannot be. Without stray stores there are none.
	Wrong []string
}

// maxWrong is how many things that are wrong a report lists.
const maxWrong = 100

func (r *Report) wrong(format string, args ...any) {
	if len(r.Wrong) < maxWrong {
		r.Wrong = append(r.Wrong, fmt.Sprintf(format, args...))
	}
}

// Verify walks all shards, one after the other, each under its lock: every slot leads to a whole record of a key that
// belongs there, every extent is free, in one log, or has lines, and what is counted is right. It changes nothing, but a
// shard that a dead holder has left is repaired first. It waits for locks until ctx is over.
func (c *Cache) Verify(ctx context.Context) (r Report, err error) {
	if c.view.Ended() {
		return r, c.closed()
	}
	for i := range c.shards {
		if err := c.verify(ctx, i, &r); err != nil {
			return r, c.orClosed(err)
		}
	}
	return r, c.orClosed(nil)
}

func (c *Cache) verify(ctx context.Context, i int, r *Report) (err error) {
	defer fault.Return(&err, fault.Catch())
	t, err := c.lock(ctx, i)
	if err != nil {
		return err
	}
	defer t.unlock()
	t.verifyExtentsLocked(r)
	t.verifyIndexLocked(r)
	t.done = true
	return nil
}

// verifyExtentsLocked compares the rows with the lists. It runs under the shard's lock.
func (t *turn) verifyExtentsLocked(r *Report) {
	c, s := t.c, t.s
	listed := map[uint32]uint32{} // the state that a list says an extent has
	for l := range eviction.Main + 1 {
		lg := &s.logs[l]
		e, n, last := lg.oldest.Load(), uint32(0), uint64(0)
		for ; e != 0 && n <= uint32(c.each); n++ {
			row := t.extentRowLocked(e)
			if row == nil || listed[e] != 0 {
				r.wrong("shard %d: extent %d is in log %d, and belongs elsewhere or is there twice", t.i, e, l)
				break
			}
			listed[e] = stateOf(l)
			if x := row.number.Load(); x <= last || x >= s.number.Load() {
				r.wrong("shard %d: extent %d has the number %d behind %d of %d", t.i, e, x, last, s.number.Load())
			} else {
				last = x
			}
			if next := row.next.Load(); next == 0 && e != lg.newest.Load() {
				r.wrong("shard %d: log %d ends with extent %d, not %d", t.i, l, e, lg.newest.Load())
				break
			} else if e = next; next != 0 && listed[next] != 0 {
				r.wrong("shard %d: log %d goes round", t.i, l)
				break
			}
		}
		if n != lg.count.Load() {
			r.wrong("shard %d: log %d has %d extents, and %d are counted", t.i, l, n, lg.count.Load())
		}
	}
	free, index, away := 0, 0, 0
	for k := range c.each {
		e := uint32(t.i*c.each+k) + 1
		switch state := c.rows[e-1].state.Load(); state {
		case stateFree:
			free++
		case stateAway:
			away++
		case stateLines:
			if n := c.rows[e-1].number.Load(); n >= maxChunks || s.chunks[n].Load() != e {
				r.wrong("shard %d: extent %d has lines, and is not of the index", t.i, e)
			}
			index++
		case stateWindow, stateMain:
			if listed[e] != state {
				r.wrong("shard %d: extent %d is in no log", t.i, e)
			}
		default:
			r.wrong("shard %d: extent %d has the state %d", t.i, e, state)
		}
	}
	if uint32(free) != s.free.Load() || uint32(index) != s.index.Load() || uint32(away) != s.away.Load() {
		r.wrong("shard %d: %d free extents, %d with lines and %d out of use, and %d, %d and %d are counted", t.i, free, index,
			away, s.free.Load(), s.index.Load(), s.away.Load())
	}
	r.Free += free
	r.Index += index
	r.Log += (c.each - index - away) * c.extent
}

// verifyIndexLocked follows every slot. It runs under the shard's lock.
func (t *turn) verifyIndexLocked(r *Report) {
	c, s := t.c, t.s
	entries := uint64(0)
	for n := range c.lineCount(t.i) {
		l := c.lineAt(t.i, n)
		if l == nil {
			r.wrong("shard %d: line %d is missing", t.i, n)
			continue
		}
		for k := range l.slots {
			if w := slot(l.slots[k].Load()); w != 0 {
				entries++
				t.verifySlotLocked(r, n, spot{l, k, w.second()}, w)
			}
		}
	}
	if entries != s.entries.Load() {
		r.wrong("shard %d: %d slots are in use, and %d are counted", t.i, entries, s.entries.Load())
	}
}

// verifySlotLocked reports what is wrong with a slot that leads somewhere, and counts it as an entry if nothing is. It
// runs under the shard's lock.
func (t *turn) verifySlotLocked(r *Report, n int, at spot, w slot) {
	c := t.c
	row := t.extentRowLocked(w.extent())
	if row == nil || !c.slotLeads(w) {
		r.wrong("shard %d: line %d: slot %d leads nowhere", t.i, n, at.k)
		return
	}
	state := row.state.Load()
	rec, ok := parse(c.extentOf(w.extent()), w.offset(), int(min(row.used.Load(), uint32(c.extent))))
	if !ok || state != stateWindow && state != stateMain {
		r.wrong("shard %d: line %d: slot %d leads to no record", t.i, n, at.k)
		return
	}
	h := hashOf(keyKind(rec.kind), rec.key, c.seed)
	p, first, found := t.findLocked(h, keyKind(rec.kind), rec.key)
	switch {
	case h.shard(c.nshards) != t.i || h.tag() != w.tag():
		r.wrong("shard %d: line %d: slot %d leads to a key that does not belong there", t.i, n, at.k)
	case !rec.whole(c.place(w.extent(), row.number.Load(), w.offset())):
		r.wrong("shard %d: extent %d: the record at %d is garbled", t.i, w.extent(), w.offset())
	case !found || !bytes.Equal(first.key, rec.key) || p.l != at.l || p.k != at.k:
		r.wrong("shard %d: line %d: slot %d is not where its key is looked for", t.i, n, at.k)
	default:
		r.Entries++
		r.Live += rec.size()
	}
}
