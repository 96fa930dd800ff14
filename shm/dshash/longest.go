package dshash

import (
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/shm/dsa"
)

// How long the reserve is: as long as the longest item that is linked, and not much longer.
//
// Each partition notes in its word longest how long its items are, if they are long. The word is raised under the
// reserve's lock, when the reserve has room for the item that is about to be linked; so a session that holds that lock
// and reads the words of all partitions knows how much room is needed at least. It is lowered under the partition's
// lock alone, when a long item is no longer linked. The session that lowers it asks for a shorter reserve by the word
// loose; the reserve's lock it only tries, since Delete must not wait for a session that is stopped. If another
// session has the lock, that one finds loose when it gives the lock back.
//
// A process that dies before it has lowered the word, or before the reserve is shorter, dies with the partition's
// lock: the repair measures the partition anew, and asks for a shorter reserve in any case.

const (
	// longItem is the least length in bytes of an item that the reserve follows both ways. For shorter ones it only gets
	// longer: one object of that length is little memory, and most tables have none but shorter items.
	longItem = 32 << 10
	// lookCost is how many bytes of an item are written in the time that a look at another entry takes. A call measures
	// the entries of a partition only if that takes no longer than to write the item that has left. So a reserve may stay
	// too long by some hundred bytes for each entry of one partition, which is little beside the table.
	lookCost = 512
	// partCost is the same of a look at another partition.
	partCost = 64
)

// lowerLongest lowers the longest of partition i, and makes the reserve shorter if that is half empty then, after an
// object of n bytes has left the slots, or has not come into one. For that it measures the partition, unless that has
// too many entries; then a later call does: in any case the one that takes the last entry out. The caller holds the
// partition's lock exclusively. It does not fail and does not wait for the reserve's lock: a reserve that is too long
// costs memory, and nothing else.
func (t *core) lowerLongest(i, n int) {
	p := &t.parts[i]
	was, now, err := p.longest.Load(), uint64(0), error(nil)
	if count := p.count.Load(); count > 0 {
		if n <= t.long || count > uint64(n/lookCost) {
			return
		}
		now, err = t.measurePart(i)
	}
	if err != nil || now >= was || t.ends.Ended() {
		return
	}
	p.longest.Store(now)
	failpoint.Hit("dshash/longest/lowered")
	t.spared.loose.Store(1)
	// Another partition has longer items, or had; then the call that lowers its longest makes the reserve shorter.
	if was <= uint64(t.reserveRoom()/2) {
		return
	}
	t.shrinkReserve()
}

// measurePart returns the length of the longest object that a slot of partition i leads to; 0 if that is no long one.
// The caller holds the partition's lock exclusively. It may attach segments.
func (t *core) measurePart(i int) (uint64, error) {
	v, err := t.lockedView(i)
	if err != nil {
		return 0, err
	}
	return t.longestIn(v.lines, v.oldLines())
}

// longestIn returns what measurePart does, of the slots of those arrays.
func (t *core) longestIn(arrays ...[]line) (longest uint64, err error) {
	for _, ls := range arrays {
		for k := range ls {
			for slot := range ls[k].slots {
				at := dsa.Pointer(ls[k].slots[slot].Load())
				if at == 0 {
					continue
				}
				b, err := t.checkedObject(at)
				if err != nil {
					return 0, err
				}
				if len(b) > t.long {
					longest = max(longest, uint64(len(b)))
				}
			}
		}
	}
	return longest, nil
}
