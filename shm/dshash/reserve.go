package dshash

import (
	"bytes"
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

// copyAgainLocked does the copying for redoLocked, whose caller holds the reserve's lock. The partition is that of a
// dead session, or of one that met a fault; its lock need not be held, as no session changes the item before redo is
// done. All that it reads may be garbled: what does not fit is ErrCorrupt, and nothing is written.
func (t *core) copyAgainLocked() error {
	s := &t.spared
	i := s.redo.Load() - 1
	log, err := t.checkedObject(s.places[s.currentPlace()].Pointer())
	if err != nil {
		return err
	}
	// This refuses the number of a partition that the table does not have, and a reserve that is too short to lead to
	// an item.
	if i >= uint64(len(t.parts)) || len(log) < reserveHeader {
		return corrupt("the reserve has nothing of partition %d", i)
	}
	item, n := dsa.Pointer(wordAt(log).Load()), wordAt(log[8:]).Load()
	// This refuses a length that reaches beyond the reserve's object.
	if n > uint64(len(log)-reserveHeader) {
		return corrupt("the reserve has an item of %d bytes and room for %d", n, len(log)-reserveHeader)
	}
	from := log[reserveHeader:][:n]
	// The allocator knows how long the entry's object is; a pointer to none is ErrCorrupt.
	to, err := t.checkedObject(item)
	if err != nil {
		return err
	}
	// The item must be the same entry's, in the partition that redo names, and fit into the object. Anything else is
	// not what overwrite has left. The lengths are loaded here once: the copy goes by at and
	// end, whatever is stored there afterwards.
	key, at, end, whole := t.splitItem(from)
	is, ok := t.keyOf(to)
	if !whole || !ok || len(to) < len(from) || !bytes.Equal(key, is) || t.partOf(hashOf(key, t.seed)) != int(i) {
		return corrupt("the reserve has another item than that at %v", item)
	}
	p := &t.parts[i]
	// The version may be odd already, or even if the holder died before beginOverwrite; it is odd from here on.
	p.beginOverwrite()
	t.copyValue(to, from, at, end)
	// Other processes may not have the copy, which is in another segment than redo: redo stays.
	if t.ends.Ended() {
		return errClosed
	}
	p.raiseVersion()
	return nil
}

// copyValue copies the value of from, an item, over that of to, an item of the same key. The value is what lies from at
// to end in both, and both are so long. It loads no length from either: another process may have changed those since
// they were checked. The length of an item of byte strings is one store, so lengths fit the object at any time; the
// value may be half old and half new meanwhile, which the odd version tells.
func (t *core) copyValue(to, from []byte, at, end int) {
	if t.kind == kindBytes {
		lengthsAt(to)[1].Store(uint32(end - at))
		failpoint.Hit("dshash/overwrite/length")
	}
	half := at + (end-at)/2
	copy(to[at:half], from[at:half])
	failpoint.Hit("dshash/overwrite/half")
	copy(to[half:end], from[half:end])
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
