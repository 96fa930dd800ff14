package control

import "math/rand/v2"

// Entry is what a member must know of a row to work on its object outside the lock. It is a copy: what becomes of the
// row after the section that returned it is not seen in it. Calls that take an Entry compare it with the row again.
type Entry struct {
	Handle     uint64 // 48 random bits above the row's number
	Size       int    // bytes, more than 0
	Word       uint64 // the backend's
	Page       uint32 // the first in the reserved region, plus one; 0: an object of its own
	CreatorPid int    // as the creator saw itself
}

// row returns the number of the entry's row. An Entry of a garbled row may name one that does not exist.
func (e *Entry) row() int { return int(e.Handle & 0xffff) }

// Carved reports whether the segment lies in the reserved region, and at which byte of it; at 0 if it does not.
func (e *Entry) Carved() (offset int, is bool) {
	if e.Page == 0 {
		return 0, false
	}
	return int(e.Page-1) * PageSize, true
}

// entry copies row i out. Its size is bounded by word only if the row is sound; callers that act on the entry check
// that.
func (t *Table) entry(i int) Entry {
	r := &t.segments[i]
	word, _ := t.loadRowWord(i)
	return Entry{
		Handle: r.handle.Load(), Size: int(r.size.Load()), Word: word, Page: r.page.Load(),
		CreatorPid: int(r.creatorPid.Load()),
	}
}

// randomEntryHandle draws the 48 bits of a handle that are not its row's number; never all zero, since a handle of 0 is
// none. It is called before the section, which so is shorter. A row's next segment gets another handle with it, and a
// late call for the last one is ErrNotFound.
func randomEntryHandle() uint64 {
	for {
		if random := rand.Uint64() << 16; random != 0 {
			return random
		}
	}
}
