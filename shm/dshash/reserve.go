package dshash

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/sys/ordered"
	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/dsa"
	"github.com/godsm/godsm/shm/shmsync"
)

// The reserve of a table, by which an entry's value is replaced without memory.
//
// An update that is refused memory writes the entry's item in place. So that a session that dies in the middle leaves
// the old value or the new one, the whole new item is in the table's reserve before: from the store of redo on the
// new value is the entry's, and the session that finds redo set copies the item again. That may be the partition's
// repair, or another session that needs the reserve and holds the lock of another partition: no session changes the
// item before the partition is repaired, and a repair begins with this.
//
// The reserve's lock is taken by a session that holds a partition's, or none. Its holder waits for the area's locks
// only, so no cycle can come of it. A session that is stopped while it has the reserve's lock stops all updates
// without memory in the table, and no other call but those that make the reserve longer, which give up after
// patience.

// spared is the reserve as this process sees it.
type spared struct {
	*reserve
	lock   *shmsync.LWLock
	places [2]dsa.Place
	// bytes is the length of the longest item that the reserve is known to have room for, and core.long at most. Without
	// the lock it is a hint: the reserve does not get shorter than that while the table is used, so a stale value makes a
	// call look for nothing.
	bytes atomic.Int64
}

// openReserve finds the reserve in the table's object, whose bytes are table. It is called once, before the table is
// used.
func (t *core) openReserve(table []byte) (err error) {
	s, at := &t.spared, reserveOffset(t.handle)
	if s.reserve, err = shm.At[reserve](shm.NewRegion(table), shm.Offset(at)); err != nil {
		return err
	}
	for k := range s.places {
		if s.places[k], err = t.area.Place(t.handle, at+placesAt+k*8); err != nil {
			return err
		}
	}
	s.lock = shmsync.NewLWLockWithin(t.ends, &s.reserve.lock, t.area.Self())
	// Updates of cells need no reserve: each is one store.
	if t.cell {
		s.bytes.Store(math.MaxInt64)
	}
	return nil
}

// currentPlace returns the number of the place that has the reserve, 0 or 1 whatever a stray store has left in the word.
// The caller holds the reserve's lock.
func (s *spared) currentPlace() int { return int(s.which.Load() & 1) }

// How long a call waits for the reserve's lock, at most. A call that only makes the reserve longer waits as it does
// for the area's locks; one that can't go on without it waits until its context is over.
const (
	patience = 10 * time.Second
	forever  = math.MaxInt64
)

// lockReserve takes the reserve's lock, and finishes what a dead holder has begun. It waits until ctx is over, for
// most at most. The error names the session that holds the lock. If it fails the lock is not held.
func (t *core) lockReserve(ctx context.Context, most time.Duration) (g shmsync.Guard, err error) {
	s := &t.spared
	// The zero Table's view has ended, and it has no lock.
	if t.ends.Ended() {
		return g, errClosed
	}
	g, ok, err := s.lock.TryLock()
	if !ok || err != nil {
		ctx, cancel := context.WithTimeout(ctx, most)
		defer cancel()
		defer t.ends.OnEnd(cancel)()
		// Recover takes a poisoned lock too: redo says what there is to repair.
		g, err = s.lock.Recover(ctx)
	}
	if err != nil {
		return g, t.orClosed(fmt.Errorf("dshash: the table's reserve: %w", err))
	}
	// The mark comes before the repair, since redo stands until that is done: a process that dies here leaves redo to
	// the next holder.
	g.MarkConsistent()
	err = t.orClosed(nil)
	if err == nil && s.redo.Load() != 0 {
		err = t.redoLocked()
	}
	if err != nil {
		g.Unlock()
	}
	return g, err
}

// unlockReserve gives the reserve's lock back, and then makes the reserve shorter if another session asked for that in
// the meantime.
func (t *core) unlockReserve(g shmsync.Guard) {
	g.Unlock()
	t.shrinkReserve()
}

// redoLocked copies the item in the reserve over the entry's once more, and clears redo. The caller holds the
// reserve's lock. An item that fits no entry, which takes a stray store, is forgotten; so is one whose entry's bytes
// are gone.
func (t *core) redoLocked() error {
	s := &t.spared
	err := t.contained(t.copyAgainLocked)
	if err != nil && !errors.Is(err, ErrCorrupt) {
		return t.orClosed(err)
	}
	failpoint.Hit("dshash/redo/copied")
	if t.ends.Ended() {
		return errClosed
	}
	// Redo is cleared last. A process that dies before it leaves all to the next holder, who does no harm by copying
	// again.
	ordered.Store64(&s.redo, 0)
	return t.orClosed(nil)
}

// overwrite writes the entry's value in place, if it fits into the linked item's object, and reports whether it did.
// If it does not fit, or the reserve has no room, nothing has changed. The caller holds the partition's lock
// exclusively. It waits for the reserve's lock until ctx is over. A process that dies in it leaves the old value, or
// from the store of redo on the new one.
func (e *entry) overwrite(ctx context.Context, value []byte) (ok bool, err error) {
	t, s := e.l.t, &e.l.t.spared
	item, err := t.checkedObject(e.ptr)
	if err != nil {
		return false, err
	}
	key, whole := t.keyOf(item)
	// This refuses lengths that reach beyond the object: a stray store has hit the item.
	if !whole {
		return false, corrupt("the item at %v is longer than its segment", e.ptr)
	}
	n, err := t.itemSize(key, len(value))
	if err != nil || n > len(item) {
		return false, err
	}
	g, err := t.lockReserve(ctx, forever)
	if err != nil {
		return false, err
	}
	defer t.unlockReserve(g)
	log, err := t.area.Bytes(s.places[s.currentPlace()].Pointer())
	if err != nil || len(log) < reserveHeader+n {
		// The reserve is shorter than this process believed, or gone. The next prepare looks again.
		s.bytes.Store(0)
		return false, t.orClosed(nil)
	}
	// The reserve is this session's until redo is stored: a process that dies before that leaves bytes that mean
	// nothing.
	wordAt(log).Store(uint64(e.ptr))
	wordAt(log[8:]).Store(uint64(n))
	image := log[reserveHeader:][:n:n]
	to := t.formatItem(image, key)
	failpoint.Hit("dshash/overwrite/begun")
	assign(to, value)
	failpoint.Hit("dshash/overwrite/logged")
	// Segments are swapped one after another: other processes might have redo, and not the new item.
	if t.ends.Ended() {
		return false, errClosed
	}
	// From this store on the entry has the new value: if this process dies, the next session that takes the reserve's
	// lock or repairs the partition copies the item.
	ordered.Store64(&s.redo, uint64(e.l.i)+1)
	failpoint.Hit("dshash/overwrite/decided")
	p := &t.parts[e.l.i]
	// The version is odd before the first byte of the item changes, so that no reader without the lock believes what
	// it sees.
	p.beginOverwrite()
	failpoint.Hit("dshash/overwrite/odd")
	t.copyValue(item, image, n-len(to), n)
	failpoint.Hit("dshash/overwrite/copied")
	// Other processes might get the end of redo, and not the copy.
	if t.ends.Ended() {
		return false, errClosed
	}
	// The item is whole. A process that died before this would leave an odd version; the copying again makes it even.
	p.raiseVersion()
	failpoint.Hit("dshash/overwrite/even")
	// The copy may be in private pages. Then redo stays, and another process makes the copy again.
	if t.ends.Ended() {
		return false, errClosed
	}
	// Redo is cleared last, when there is nothing left to be done again.
	ordered.Store64(&s.redo, 0)
	return true, nil
}

// freePlace frees what a place owns, if anything, and clears the place. A pointer to no object, which a stray store has
// put there, is forgotten. If a lock of the area is not free in time the place keeps its object, and the error says
// so.
func (t *core) freePlace(at dsa.Place) error {
	if at.Pointer() == 0 {
		return nil
	}
	err := t.area.FreeFrom(at)
	if err != nil && (errors.Is(err, dsa.ErrPointer) || errors.Is(err, ErrCorrupt)) {
		at.Clear()
		err = nil
	}
	return t.orClosed(err)
}

// freeReserve frees the reserve's objects, when the table is destroyed. It waits for the reserve's lock until ctx is
// over. What a failure leaves is freed by the next Destroy.
func (t *core) freeReserve(ctx context.Context) error {
	g, err := t.lockReserve(ctx, forever)
	if err != nil {
		return err
	}
	defer t.unlockReserve(g)
	for k := range t.spared.places {
		if err := t.freePlace(t.spared.places[k]); err != nil {
			return err
		}
		failpoint.Hit("dshash/destroy/reserve")
	}
	return nil
}

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
