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
