package logcache

// slot is a word of the index: where the record of an entry is, 0 if there is no entry.
//
//	bits 0-16   offset in the extent, in units of 8 bytes
//	bits 17-33  the extent's life, its low bits: a slot with another life than its extent's leads nowhere
//	bits 34-49  the extent's number, never 0
//	bit 50      the entry is in the second line of its key
//	bits 51-63  tag, of the key's hash
type slot uint64

const (
	offsetBits      = 17
	lifeBits        = 17
	lifeMask        = 1<<lifeBits - 1
	extentShift     = offsetBits + lifeBits
	maxExtentNumber = 1<<16 - 1
	secondShift     = extentShift + 16
	tagShift        = secondShift + 1
	tagMask         = 1<<13 - 1

	// doublings is how often an index can double: the low bits of the tag are the line's number above the first ones, so
	// that a line is split without a look at the records.
	doublings = 4
)

func slotOf(h hash, second int, extent uint32, life uint64, offset int) slot {
	return slot(h.tag()<<tagShift | uint64(second)<<secondShift | uint64(extent)<<extentShift |
		life&lifeMask<<offsetBits | uint64(offset)/8)
}

func (w slot) offset() int    { return int(w&(1<<offsetBits-1)) * 8 }
func (w slot) life() uint64   { return uint64(w>>offsetBits) & lifeMask }
func (w slot) extent() uint32 { return uint32(w>>extentShift) & maxExtentNumber }
func (w slot) second() int    { return int(w >> secondShift & 1) }
func (w slot) tag() uint64    { return uint64(w >> tagShift) }

// at returns the word of the same entry in another place.
func (w slot) at(extent uint32, life uint64, offset int) slot {
	return w>>secondShift<<secondShift | slot(uint64(extent)<<extentShift|life&lifeMask<<offsetBits|uint64(offset)/8)
}

// slotLeads reports whether the slot's extent has the slot's life.
func (c *Cache) slotLeads(w slot) bool {
	e := w.extent()
	return e != 0 && int(e) <= c.extents() && c.lives[e-1].Load()&lifeMask == w.life()
}

// clearDeadSlotsLocked looks at some lines, and clears slots that lead nowhere, which garbled records leave. It goes
// round the index in about half the time that the log takes, so no slot lasts until a life's low bits come again. It
// runs under the shard's lock.
func (t *turn) clearDeadSlotsLocked() {
	lines := t.c.lineCount(t.i)
	for range 2*lines/t.c.each + 1 {
		n := t.s.hand.Load()
		t.s.hand.Store(n + 1)
		l := t.c.lineAt(t.i, int(n%uint64(lines)))
		if l == nil {
			continue
		}
		for k := range l.slots {
			if w := slot(l.slots[k].Load()); w != 0 && !t.c.slotLeads(w) {
				t.clearSlotLocked(spot{l: l, k: k})
			}
		}
	}
}

// clearSlotLocked makes a slot empty. It runs under the shard's lock.
func (t *turn) clearSlotLocked(p spot) {
	p.l.slots[p.k].Store(0)
	t.s.entries.Store(t.s.entries.Load() - 1)
}

// clearMovingSlotLocked clears the slot of an entry that was being put into its other line, so that it is not in both.
// It runs under the shard's lock.
func (t *turn) clearMovingSlotLocked(moving slot) {
	for n := 0; moving != 0 && n < t.c.lineCount(t.i); n++ {
		if l := t.c.lineAt(t.i, n); l != nil {
			for k := range l.slots {
				if slot(l.slots[k].Load()) == moving {
					l.slots[k].Store(0)
				}
			}
		}
	}
	t.s.moving.Store(0)
}
