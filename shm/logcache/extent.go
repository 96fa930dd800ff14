package logcache

import (
	"cmp"
	"context"
	"slices"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/sys/fault"
)

// extentRowLocked returns the row of an extent of the shard, nil if it is not one. It runs under the shard's lock.
func (t *turn) extentRowLocked(e uint32) *row {
	if first := uint32(t.i*t.c.each) + 1; e < first || e >= first+uint32(t.c.each) {
		return nil
	}
	return &t.c.rows[e-1]
}

// takeExtentLocked gives a free extent a state and a number. Its life has gone up when it became free. It runs under
// the shard's lock.
func (t *turn) takeExtentLocked(state uint32, number uint64) (e uint32, ok bool) {
	c, s := t.c, t.s
	if s.free.Load() == 0 {
		return 0, false
	}
	hint := int(s.hint.Load() % uint32(c.each))
	for n := range c.each {
		k := (hint + n) % c.each
		r := &c.rows[t.i*c.each+k]
		if r.state.Load() != stateFree {
			continue
		}
		r.used.Store(0)
		r.next.Store(0)
		r.number.Store(number)
		failpoint.Hit("logcache/take/numbered")
		r.state.Store(state)
		s.free.Store(s.free.Load() - 1)
		s.hint.Store(uint32(k + 1))
		failpoint.Hit("logcache/take/stored")
		return uint32(t.i*c.each+k) + 1, true
	}
	t.markDirtyLocked("free extents are counted, and there are none")
	return 0, false
}

// linkExtentsLocked makes the list of a log anew, in the order of numbers. The oldest extent is walked from the start
// again. It runs under the shard's lock.
func (t *turn) linkExtentsLocked(l int, list []uint32) {
	c, lg := t.c, &t.s.logs[l]
	slices.SortFunc(list, func(a, b uint32) int {
		return cmp.Compare(c.rows[a-1].number.Load(), c.rows[b-1].number.Load())
	})
	lg.cursor.Store(0)
	lg.dead.Store(0)
	lg.count.Store(uint32(len(list)))
	lg.oldest.Store(0)
	lg.newest.Store(0)
	for i, e := range list {
		next := uint32(0)
		if i+1 < len(list) {
			next = list[i+1]
		}
		c.rows[e-1].next.Store(next)
	}
	if len(list) > 0 {
		lg.oldest.Store(list[0])
		lg.newest.Store(list[len(list)-1])
	}
}

// extentOf returns the bytes of an extent, whose number is in range.
func (c *Cache) extentOf(e uint32) []byte {
	at := (int(e) - 1) * c.extent
	return c.log[at : at+c.extent : at+c.extent]
}

// copyExtent copies the entries of the extent of a shard that follows the one with that number; its own is 0 if there
// is none.
func (c *Cache) copyExtent(ctx context.Context, i int, behind uint64) (items []Item, number uint64, err error) {
	defer fault.Return(&err, fault.Catch())
	t, err := c.lock(ctx, i)
	if err != nil {
		return nil, 0, err
	}
	defer t.unlock()
	t.done = true
	e := uint32(0)
	for k := range c.each {
		r := &c.rows[i*c.each+k]
		if state := r.state.Load(); state != stateWindow && state != stateMain {
			continue
		}
		if n := r.number.Load(); n > behind && (e == 0 || n < number) {
			e, number = uint32(i*c.each+k)+1, n
		}
	}
	if e == 0 {
		return nil, 0, nil
	}
	used := int(min(c.rows[e-1].used.Load(), uint32(c.extent)))
	for off := 0; off < used; {
		r, ok := parse(c.extentOf(e), off, used)
		if !ok {
			break
		}
		if r.kind != kindPiece && c.alive(&r) && r.whole(c.place(e, number, off)) {
			h := hashOf(kindValue, r.key, c.seed)
			if p, found := t.spotLocked(h, e, off); found && c.slotLeads(p.word()) {
				item := Item{Key: slices.Clone(r.key), Entry: c.entryOf(&r), Size: r.size()}
				item.Entry.Value = slices.Clone(r.value)
				if r.kind == kindHead {
					item.Size = -item.Size // the pieces are looked for without the lock
				}
				items = append(items, item)
			}
		}
		off += r.size()
	}
	return items, number, nil
}
