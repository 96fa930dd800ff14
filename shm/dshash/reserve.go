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

// An update that is refused memory writes the entry's item in place. So that a session which dies in the middle leaves
// the old value or the new one, the new item is whole in the table's reserve before: from the store of redo on it is the
// entry's, and who finds redo set copies it again. That may be the partition's repair, or another session that needs the
// reserve, which holds the lock of another partition: nobody changes the item before the partition is repaired, and a
// repair begins with this.
//
// The reserve's lock is taken by who holds a partition's, or none. Its holder waits for the area only.

// spared is the reserve as this process sees it.
type spared struct {
	*reserve
	lock   *shmsync.LWLock
	places [2]dsa.Place
	bytes  atomic.Int64 // of the longest item that it is known to have room for
}

// openReserve finds the reserve in the table's object.
func (t *core) openReserve(table []byte) (err error) {
	s, at := &t.spared, reserveAt(t.handle)
	if s.reserve, err = shm.At[reserve](shm.NewRegion(table), shm.Offset(at)); err != nil {
		return err
	}
	for k := range s.places {
		if s.places[k], err = t.area.Place(t.handle, at+placesAt+k*8); err != nil {
			return err
		}
	}
	s.lock = shmsync.NewLWLockWithin(t.ends, &s.reserve.lock, t.area.Self())
	if t.cell { // whose updates need none
		s.bytes.Store(math.MaxInt64)
	}
	return nil
}

// present returns the place that has the reserve.
func (s *spared) present() int { return int(s.which.Load() & 1) }

// How long a call waits for the reserve's lock, at most. Who only makes it longer waits as it does for the area's.
const (
	patience = 10 * time.Second
	forever  = math.MaxInt64
)

// lockReserve takes the reserve's lock, and finishes what a dead holder has begun.
func (t *core) lockReserve(ctx context.Context, most time.Duration) (g shmsync.Guard, err error) {
	s := &t.spared
	if t.ends.Ended() { // that of the zero Table, too, which has no lock
		return g, errClosed
	}
	g, ok, err := s.lock.TryLock()
	if !ok || err != nil {
		ctx, cancel := context.WithTimeout(ctx, most)
		defer cancel()
		defer t.ends.OnEnd(cancel)()
		g, err = s.lock.Recover(ctx) // redo says what there is to repair
	}
	if err != nil {
		return g, t.answer(fmt.Errorf("dshash: the table's reserve, locked by %v: %w", s.lock.Status().Exclusive, err))
	}
	g.MarkConsistent()
	err = t.answer(nil)
	if err == nil && s.redo.Load() != 0 {
		err = t.redoLocked()
	}
	if err != nil {
		g.Unlock()
	}
	return g, err
}

// redoLocked copies the reserve's item again, under the reserve's lock. One that fits nothing, which takes a stray store,
// is forgotten; so is one whose entry's bytes are gone.
func (t *core) redoLocked() error {
	s := &t.spared
	err := t.contained(t.copyAgainLocked)
	if err != nil && !errors.Is(err, ErrCorrupt) {
		return t.answer(err)
	}
	failpoint.Hit("dshash/redo/copied")
	if t.ends.Ended() {
		return errClosed
	}
	ordered.Store64(&s.redo, 0)
	return t.answer(nil)
}

func (t *core) copyAgainLocked() error {
	s := &t.spared
	i := s.redo.Load() - 1
	log, err := t.object(s.places[s.present()].Pointer())
	if err != nil {
		return err
	}
	if i >= uint64(len(t.parts)) || len(log) < reserveHeader {
		return corrupt("the reserve has nothing of partition %d", i)
	}
	at, n := dsa.Pointer(wordAt(log).Load()), wordAt(log[8:]).Load()
	if n > uint64(len(log)-reserveHeader) {
		return corrupt("the reserve has an item of %d bytes and room for %d", n, len(log)-reserveHeader)
	}
	from := log[reserveHeader:][:n]
	to, err := t.object(at)
	if err != nil {
		return err
	}
	key, whole := t.keyOf(from)
	is, ok := t.keyOf(to)
	if !whole || !ok || len(to) < len(from) || !bytes.Equal(key, is) || t.part(hashOf(key, t.seed)) != int(i) {
		return corrupt("the reserve has another item than that at %v", at)
	}
	p := &t.parts[i]
	p.disturb()
	t.copyItem(to, from)
	if t.ends.Ended() { // others may not have the copy, in another segment: redo stays
		return errClosed
	}
	p.raise()
	return nil
}

// copyItem makes one item another of the same key. Of its lengths each is one store, so they fit the item at any time.
func (t *core) copyItem(to, from []byte) {
	at := int(t.keySize)
	if t.kind == kindBytes {
		l := lengthsAt(from)
		at = lengths + int(l[0].Load())
		lengthsAt(to)[1].Store(l[1].Load())
		failpoint.Hit("dshash/overwrite/length")
	}
	half := at + (len(from)-at)/2
	copy(to[at:half], from[at:half])
	failpoint.Hit("dshash/overwrite/half")
	copy(to[half:len(from)], from[half:])
}

// overwrite writes the entry's value in place, if it fits where the present one is. If not, nothing has changed, and ok
// is false.
func (e *entry) overwrite(ctx context.Context, value []byte) (ok bool, err error) {
	t, s := e.l.t, &e.l.t.spared
	item, err := t.object(e.ptr)
	if err != nil {
		return false, err
	}
	key, whole := t.keyOf(item)
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
	defer g.Unlock()
	log, err := t.area.Bytes(s.places[s.present()].Pointer())
	if err != nil || len(log) < reserveHeader+n {
		s.bytes.Store(0) // to be looked at again
		return false, t.answer(nil)
	}
	wordAt(log).Store(uint64(e.ptr))
	wordAt(log[8:]).Store(uint64(n))
	image := log[reserveHeader:][:n:n]
	to := t.format(image, key)
	failpoint.Hit("dshash/overwrite/begun")
	assign(to, value)
	failpoint.Hit("dshash/overwrite/logged")
	if t.ends.Ended() { // segments are swapped one after another: others may have redo, and not the new item
		return false, errClosed
	}
	ordered.Store64(&s.redo, uint64(e.l.i)+1)
	failpoint.Hit("dshash/overwrite/decided")
	p := &t.parts[e.l.i]
	p.disturb()
	failpoint.Hit("dshash/overwrite/odd")
	t.copyItem(item, image)
	failpoint.Hit("dshash/overwrite/copied")
	if t.ends.Ended() { // or the end of redo, and not the copy
		return false, errClosed
	}
	p.raise()
	failpoint.Hit("dshash/overwrite/even")
	if t.ends.Ended() { // the copy may be in private pages: others make it again
		return false, errClosed
	}
	ordered.Store64(&s.redo, 0)
	return true, nil
}

// provide ensures that the reserve has room for an item of n bytes, before one is linked.
func (t *core) provide(ctx context.Context, n int) error {
	s := &t.spared
	g, err := t.lockReserve(ctx, patience)
	if err != nil {
		return err
	}
	defer g.Unlock()
	k := s.present()
	if p := s.places[k].Pointer(); p != 0 {
		if b, err := t.area.Bytes(p); err == nil && len(b) >= reserveHeader+n {
			s.bytes.Store(int64(len(b) - reserveHeader))
			return nil
		}
	}
	if err := t.free(s.places[1-k]); err != nil {
		return err
	}
	size := n
	if t.kind == kindBytes {
		size += n / 4 // so that it seldom grows
	}
	if err = t.area.AllocInto(reserveHeader+size, s.places[1-k]); err != nil && size > n && scarce(err) {
		size = n
		err = t.area.AllocInto(reserveHeader+size, s.places[1-k])
	}
	if err != nil {
		return err
	}
	failpoint.Hit("dshash/reserve/allocated")
	ordered.Store64(&s.which, uint64(1-k))
	failpoint.Hit("dshash/reserve/present")
	s.bytes.Store(int64(size))
	_ = t.free(s.places[k]) // if not now, when it grows again
	return t.answer(nil)
}

// scarce reports whether an error is that there is no memory, in any of its kinds, or that the area's lock was not free.
func scarce(err error) bool {
	return err != nil && !errors.Is(err, ErrClosed) && !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrSize)
}

// free frees what a place owns, if anything. What a stray store has put there it forgets.
func (t *core) free(at dsa.Place) error {
	if at.Pointer() == 0 {
		return nil
	}
	err := t.area.FreeFrom(at)
	if err != nil && (errors.Is(err, dsa.ErrPointer) || errors.Is(err, ErrCorrupt)) {
		at.Clear()
		err = nil
	}
	return t.answer(err)
}

// freeReserve is the end of the reserve, with its table.
func (t *core) freeReserve(ctx context.Context) error {
	g, err := t.lockReserve(ctx, forever)
	if err != nil {
		return err
	}
	defer g.Unlock()
	for k := range t.spared.places {
		if err := t.free(t.spared.places[k]); err != nil {
			return err
		}
		failpoint.Hit("dshash/destroy/reserve")
	}
	return nil
}
