package dshash

import (
	"context"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/sys/ordered"
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

// ensureReserve ensures that the reserve has room for an item of n bytes, before one is linked in partition i, whose
// lock the caller holds exclusively. It waits for the reserve's lock, until ctx is over, for patience at most, and
// allocates if the reserve is shorter. If it fails, the reserve is what it was.
func (t *core) ensureReserve(ctx context.Context, i, n int) error {
	s, p := &t.spared, &t.parts[i]
	// The reserve has room already, and keeps it as long as longest says so. Bytes is 0 after a call that has found the
	// reserve shorter than that, which takes a stray store.
	if n > t.long && uint64(n) <= p.longest.Load() && s.bytes.Load() > 0 {
		return nil
	}
	g, err := t.lockReserve(ctx, patience)
	if err != nil {
		return err
	}
	defer t.unlockReserve(g)
	if t.reserveRoom() < n {
		size := n
		if t.kind == kindBytes {
			// A little more than is needed, so that it seldom grows; and little enough for a long item to find room beside it.
			size += min(n/4, t.long)
		}
		if err = t.replaceReserveLocked(size); err != nil && size > n && isShortage(err) {
			err = t.replaceReserveLocked(n)
		}
		if err != nil {
			return err
		}
	}
	s.bytes.Store(int64(min(t.reserveRoom(), t.long)))
	// A process that dies before this store has no item linked that needs it; after it, the repair finds out.
	if n > t.long && uint64(n) > p.longest.Load() {
		p.longest.Store(uint64(n))
		failpoint.Hit("dshash/longest/raised")
	}
	return t.orClosed(nil)
}

// reserveRoom returns for how long an item the reserve has room; 0 if there is no reserve. It is exact for a caller
// that holds the reserve's lock, and a hint otherwise.
func (t *core) reserveRoom() int {
	s := &t.spared
	at := s.places[s.currentPlace()].Pointer()
	if at == 0 {
		return 0
	}
	b, err := t.area.Bytes(at)
	if err != nil {
		return 0
	}
	return max(len(b)-reserveHeader, 0)
}

// replaceReserveLocked makes an object with room for an item of n bytes the reserve, and frees the one that was. If it
// fails, the reserve is what it was. The caller holds the reserve's lock, with nothing to be done again.
func (t *core) replaceReserveLocked(n int) error {
	s := &t.spared
	k := s.currentPlace()
	// The other place may own an object that a dead session has left: one that was to become the reserve, or had
	// been.
	if err := t.freePlace(s.places[1-k]); err != nil {
		return err
	}
	if err := t.area.AllocInto(reserveHeader+n, s.places[1-k]); err != nil {
		return err
	}
	failpoint.Hit("dshash/reserve/allocated")
	// The place owns the other object already. By this store it becomes the reserve; a process that dies before it
	// leaves the object in the place, where the next call to make the reserve anew frees it, and after it the same of
	// the earlier one.
	ordered.Store64(&s.which, uint64(1-k))
	failpoint.Hit("dshash/reserve/present")
	// If it can't be freed now, it is when the reserve is made anew again.
	_ = t.freePlace(s.places[k])
	return nil
}

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

// forgetCopies has the copies that were replaced before the change was made no longer count. The caller holds the
// partition's lock exclusively, and has committed the change.
func (e *entry) forgetCopies() {
	if c := &e.l.change; c.dropped > 0 {
		e.l.t.lowerLongest(e.l.i, c.dropped)
		c.dropped = 0
	}
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

// shrinkReserve makes the reserve shorter if a session has asked for that, and it is more than twice as long as the
// longest item. It only tries to get the reserve's lock: its holder calls shrinkReserve when it gives the lock back.
// If there is no memory for the shorter one, the reserve stays as it is until the next long item is taken out.
func (t *core) shrinkReserve() {
	s := &t.spared
	for s.loose.Load() != 0 && !t.ends.Ended() {
		g, err := t.lockReserve(impatient, patience)
		if err != nil {
			return
		}
		_ = t.contained(t.shrinkReserveLocked)
		// Another session may have asked since, and have found the lock taken: so the loop looks again.
		g.Unlock()
	}
}

// shrinkReserveLocked does for shrinkReserve what needs the reserve's lock, which the caller holds.
func (t *core) shrinkReserveLocked() error {
	// What is asked for from here on may come too late for this look, and is seen by the next.
	t.spared.loose.Store(0)
	need := uint64(t.long)
	for i := range t.parts {
		need = max(need, t.parts[i].longest.Load())
	}
	if uint64(t.reserveRoom()/2) <= need {
		return nil
	}
	return t.replaceReserveLocked(int(need))
}
