package roster

import (
	"errors"
	"fmt"
	"iter"
	"math/bits"
	"sync"
	"sync/atomic"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/dsa"
	"github.com/godsm/godsm/shm/shmsync"
)

// Kinds of failure. They match with errors.Is.
var (
	ErrCorrupt  = shm.ErrCorrupt
	ErrFull     = errkind.Full     // the session has as many records as there can be
	ErrMismatch = errkind.Mismatch // the roster's seats or records are of other types
	ErrVersion  = errkind.Version
)

// Roster is the seats of a structure and their records, as one process sees them: S is what a structure keeps for each
// session, R a record. Both may lie in shared memory (see shm.Check) and are zero at first; R's size divides a page. All
// methods are safe for concurrent use but Join.
type Roster[S, R any] struct {
	area   *dsa.Area
	bytes  Bytes
	self   shmsync.Self
	handle dsa.Pointer
	head   *header
	seen   [shmsync.MaxRows]atomic.Pointer[view[S, R]]   // found so far: seats never move
	first  [shmsync.MaxRows]atomic.Pointer[[firstPage]R] // the first page of each: a walk over records of many sessions finds it in one load

	mu   sync.Mutex
	free []Ref // of this session's
	made int   // records of this session's that there are
}

// Bytes returns the n bytes that begin at an object of an area, in place.
type Bytes func(p dsa.Pointer, n int) ([]byte, error)

// In returns the objects of an area that is attached.
func In(a *dsa.Area) Bytes {
	return func(p dsa.Pointer, n int) ([]byte, error) {
		b, err := a.Bytes(p)
		if err == nil && len(b) < n {
			return nil, errCorruptRoster("the object at %v has %d bytes, not %d", p, len(b), n)
		}
		return b, err
	}
}

// objectAt returns the T at p.
func objectAt[T any](b Bytes, p dsa.Pointer) (*T, error) {
	list, err := b(p, shm.Size[T]())
	if err != nil {
		return nil, err
	}
	return shm.At[T](shm.NewRegion(list), 0)
}

// view is a seat as this process has found it.
type view[S, R any] struct {
	chair *chair[S]
	at    dsa.Pointer
	pages [pageCount]atomic.Pointer[[]R]
}

// Create makes a roster in the area. Others find it by Handle.
func Create[S, R any](a *dsa.Area) (*Roster[S, R], error) {
	if err := errors.Join(shm.Check[S](), shm.Check[R]()); err != nil {
		return nil, err
	}
	ref, h, err := dsa.New[header](a)
	if err != nil {
		return nil, fmt.Errorf("roster: make the table of seats: %w", err)
	}
	h.version.Store(version)
	h.seat.Store(shm.Layout[S]())
	h.record.Store(shm.Layout[R]())
	failpoint.Hit("roster/create/laid-out")
	h.magic.Store(magic)
	return &Roster[S, R]{area: a, bytes: In(a), self: a.Self(), handle: dsa.Pointer(ref), head: h}, nil
}

// Attach finds the roster that Create has made. S and R must be what they were then.
func Attach[S, R any](a *dsa.Area, handle dsa.Pointer) (*Roster[S, R], error) {
	r, err := Look[S, R](In(a), handle)
	if err == nil {
		r.area, r.self = a, a.Self()
	}
	return r, err
}

// Look is Attach for one that only looks, and calls nothing but At, Seat, Rows and Each.
func Look[S, R any](bytes Bytes, handle dsa.Pointer) (*Roster[S, R], error) {
	h, err := objectAt[header](bytes, handle)
	switch {
	case err != nil:
		return nil, fmt.Errorf("roster: %w", err)
	case h.magic.Load() != magic:
		return nil, errCorruptRoster("the object begins with %#x and not with a roster", h.magic.Load())
	case h.version.Load() != version:
		return nil, errkind.OtherVersion("the roster", h.version.Load(), version, "the processes that have it attached")
	case h.seat.Load() != shm.Layout[S]() || h.record.Load() != shm.Layout[R]():
		return nil, errkind.As(ErrMismatch, errors.New("roster: its seats or records have another layout"))
	}
	return &Roster[S, R]{bytes: bytes, handle: handle, head: h}, nil
}

// Handle names the roster for Attach.
func (r *Roster[S, R]) Handle() dsa.Pointer { return r.handle }

// Join takes the seat of this session's row, once. If a session that died had it, sweep is called with it first: it
// clears whatever refers to records of the row. Then the records are made zero. An error of sweep is that of Join, and
// leaves the seat as it was.
func (r *Roster[S, R]) Join(sweep func(dead shmsync.Peer) error) (*S, error) {
	row := r.self.Row
	if r.head.rows[row].Load() == 0 {
		err := r.makeObject(shm.Size[chair[S]](), r.handle, comingAt+8*row, rowsAt+8*row)
		if err != nil {
			return nil, fmt.Errorf("roster: make the seat of row %d: %w", row, err)
		}
		failpoint.Hit("roster/join/made")
	}
	v, err := r.find(row)
	if err != nil {
		return nil, err
	}
	if was := v.chair.peer.Load(); was != 0 && was != r.self.Peer.Word() {
		if err := sweep(shmsync.PeerOf(was)); err != nil {
			return nil, err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for k := range pageCount {
		page, err := r.page(v, k)
		if err != nil {
			return nil, err
		}
		if page == nil {
			break
		}
		clear(page)
		r.addFreeLocked(len(page))
	}
	if err := r.placeOrFreePage(v); err != nil {
		return nil, err
	}
	var zero S
	v.chair.own = zero
	failpoint.Hit("roster/join/cleared")
	v.chair.peer.Store(r.self.Peer.Word())
	return &v.chair.own, nil
}

// makeObject allocates an object of n bytes, all zero, that the word at to, of the object in, owns. Others that find
// it there may read it at once. Until it is zero the word at coming owns it; both are this session's to write.
func (r *Roster[S, R]) makeObject(n int, in dsa.Pointer, coming, to int) error {
	stage, err := r.area.Place(in, coming)
	if err != nil {
		return err
	}
	place, err := r.area.Place(in, to)
	if err != nil {
		return err
	}
	if err := r.placeOrFree(stage, place); err != nil {
		return err
	}
	if err := r.area.AllocInto(n, stage); err != nil {
		return err
	}
	failpoint.Hit("roster/make/allocated")
	b, err := r.area.Bytes(stage.Pointer())
	if err != nil {
		return err
	}
	clear(b)
	place.Set(stage.Pointer())
	failpoint.Hit("roster/make/placed")
	stage.Clear()
	return nil
}

// placeOrFree empties a word that owns an object which a session that died was making: the object has its place, or is
// freed.
func (r *Roster[S, R]) placeOrFree(stage, place dsa.Place) error {
	switch p := stage.Pointer(); p {
	case 0:
	case place.Pointer():
		stage.Clear()
	default:
		return r.area.FreeFrom(stage)
	}
	return nil
}

// placeOrFreePage does the same for a page that the seat's last session was making.
func (r *Roster[S, R]) placeOrFreePage(v *view[S, R]) error {
	for k := range pageCount {
		if p := v.chair.coming.Load(); p == 0 || p == v.chair.pages[k].Load() {
			v.chair.coming.Store(0)
			return nil
		}
	}
	stage, err := r.area.Place(v.at, comingPageAt)
	if err != nil {
		return err
	}
	return r.area.FreeFrom(stage)
}

// Leave gives up the seat: nothing refers to this session's records any more. It may be taken by Join again.
func (r *Roster[S, R]) Leave() {
	if v, err := r.find(r.self.Row); err == nil && v.chair.peer.Load() == r.self.Peer.Word() {
		v.chair.peer.Store(0)
	}
}

// addFreeLocked lists, under r.mu, n more records of this session as free.
func (r *Roster[S, R]) addFreeLocked(n int) {
	for i := n - 1; i >= 0; i-- {
		r.free = append(r.free, refOf(r.self.Row, r.made+i))
	}
	r.made += n
}

// Take returns a record of this session that is not in use. Its bytes are as Give found them, or zero.
func (r *Roster[S, R]) Take() (Ref, *R, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.free) == 0 {
		if err := r.growLocked(); err != nil {
			return 0, nil, err
		}
	}
	ref := r.free[len(r.free)-1]
	rec, err := r.At(ref)
	if err != nil {
		return 0, nil, err
	}
	r.free = r.free[:len(r.free)-1]
	return ref, rec, nil
}

// growLocked makes, under r.mu, the next page of this session's records.
func (r *Roster[S, R]) growLocked() error {
	k := bits.Len(uint(r.made/firstPage+1)) - 1
	v, err := r.find(r.self.Row)
	if err != nil {
		return err
	}
	if k >= pageCount {
		return errkind.As(ErrFull, fmt.Errorf("roster: the session has its %d records in use", MaxRecords))
	}
	if v.chair.pages[k].Load() == 0 {
		err := r.makeObject(shm.Size[R]()*firstPage<<k, v.at, comingPageAt, pagesAt+8*k)
		if err != nil {
			return fmt.Errorf("roster: no room for records: %w", err)
		}
		failpoint.Hit("roster/take/grown")
	}
	page, err := r.page(v, k)
	if err != nil {
		return err
	}
	r.addFreeLocked(len(page))
	return nil
}

// Give gives back a record that Take returned. Nothing may refer to it any more.
func (r *Roster[S, R]) Give(ref Ref) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.free = append(r.free, ref)
}

// InUse returns how many records of this session are in use.
func (r *Roster[S, R]) InUse() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.made - len(r.free)
}

// At returns the record that ref names. One that does not exist is ErrCorrupt: a process's word was garbled.
func (r *Roster[S, R]) At(ref Ref) (*R, error) {
	row, i := ref.Row(), ref.Index()
	if row < 0 || row >= shmsync.MaxRows {
		return nil, errCorruptRoster("%#x names no record", uint32(ref))
	}
	if p := r.first[row].Load(); i < firstPage && p != nil {
		return &p[i], nil
	}
	k := bits.Len(uint(i/firstPage+1)) - 1
	if k < pageCount {
		v, err := r.find(row)
		if err != nil {
			return nil, err
		}
		page, err := r.page(v, k)
		if err != nil {
			return nil, err
		}
		if k == 0 && len(page) == firstPage {
			r.first[row].Store((*[firstPage]R)(page))
		}
		if at := i - firstPage*(1<<k-1); at < len(page) {
			return &page[at], nil
		}
	}
	return nil, errCorruptRoster("row %d has no record %d", row, i)
}

// Seat returns who has the seat of a row, and the structure's part of it. It is false if the row was never used.
func (r *Roster[S, R]) Seat(row int) (who shmsync.Peer, own *S, ok bool) {
	if row < 0 || row >= shmsync.MaxRows || r.head.rows[row].Load() == 0 {
		return who, nil, false
	}
	v, err := r.find(row)
	if err != nil {
		return who, nil, false
	}
	w := v.chair.peer.Load()
	return shmsync.PeerOf(w), &v.chair.own, w != 0
}

// Rows yields the rows that were ever used, and who has the seat of each. It takes no lock.
func (r *Roster[S, R]) Rows() iter.Seq2[int, shmsync.Peer] {
	return func(yield func(int, shmsync.Peer) bool) {
		for row := range r.head.rows {
			if who, _, ok := r.Seat(row); ok && !yield(row, who) {
				return
			}
		}
	}
}

// Each yields the records of a row, in use or not. It takes no lock.
func (r *Roster[S, R]) Each(row int) iter.Seq2[Ref, *R] {
	return func(yield func(Ref, *R) bool) {
		if row < 0 || row >= shmsync.MaxRows || r.head.rows[row].Load() == 0 {
			return
		}
		v, err := r.find(row)
		if err != nil {
			return
		}
		n := 0
		for k := range pageCount {
			page, err := r.page(v, k)
			if err != nil || page == nil {
				return
			}
			for i := range page {
				if !yield(refOf(row, n+i), &page[i]) {
					return
				}
			}
			n += len(page)
		}
	}
}

// find returns the seat of a row.
func (r *Roster[S, R]) find(row int) (*view[S, R], error) {
	if v := r.seen[row].Load(); v != nil {
		return v, nil
	}
	p := dsa.Pointer(r.head.rows[row].Load())
	if p == 0 {
		return nil, errCorruptRoster("row %d has no seat", row)
	}
	c, err := objectAt[chair[S]](r.bytes, p)
	if err != nil {
		return nil, fmt.Errorf("roster: the seat of row %d: %w", row, err)
	}
	v := &view[S, R]{chair: c, at: p}
	if !r.seen[row].CompareAndSwap(nil, v) {
		v = r.seen[row].Load()
	}
	return v, nil
}
