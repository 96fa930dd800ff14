package dsa

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/shmsync"
)

// Kinds of failure. They match with errors.Is. What the source says comes through: no space, a quota, a full table.
var (
	ErrCorrupt  = shm.ErrCorrupt
	ErrSize     = errkind.Size     // not a size that an object or an area can have
	ErrLimit    = errkind.Quota    // the area's size limit; the text tells it from a quota of the instance
	ErrFull     = errkind.Full     // no row left for a segment or a session, or an area in place that can't grow
	ErrNoMemory = errkind.NoMemory // all that keeps an area from growing: freeing objects, by any session, is the answer to it
	ErrClosed   = errkind.Closed   // after Detach
	ErrNotFound = errkind.NotFound // the area is gone
	ErrVersion  = errkind.Version  // the area has another layout version; the text says which program to upgrade

	// ErrPointer: no object of this area is there now. It was freed before, or never was. See the package comment.
	ErrPointer = errors.New("not the pointer of an allocated object")
	// ErrOverrun, in checked mode: somebody wrote past the object's end.
	ErrOverrun = errors.New("the bytes behind the object have been overwritten")
)

// Options are an area's, fixed when it is made. Zeros mean the defaults.
type Options struct {
	Initial    int   // bytes of the first segment, about; 1 MiB
	MaxSegment int   // bytes that growth adds at once, at most; 1 GiB. A larger object gets a segment of its own size
	Limit      int64 // bytes of all segments; none. See SetLimit
	Keep       int64 // bytes of empty segments that are kept for the next need; 16 MiB. Negative: none
	Sessions   int   // that can have the area attached at once; 256, at most 2048

	// Checked finds writes past an object's end, and stale pointers: 8 bytes more for each object, and slower. An area that is
	// made in an instance in checked mode (Self.Checked) has it in any case, for all its sessions.
	Checked bool
}

func (o Options) complete() (Options, error) {
	set := func(v *int, to int) {
		if *v == 0 {
			*v = to
		}
	}
	set(&o.Initial, 1<<20)
	set(&o.MaxSegment, 1<<30)
	set(&o.Sessions, 256)
	if o.Keep == 0 {
		o.Keep = 16 << 20
	}
	o.Keep = max(o.Keep, 0)
	if o.Initial < 0 || o.MaxSegment < 0 || o.Sessions < 1 || o.Sessions > maxSlots || o.Limit < 0 ||
		uint64(o.Initial) > maxSegment || uint64(o.MaxSegment) > maxSegment {
		return o, errkind.As(ErrSize,
			fmt.Errorf("dsa: segments are of up to %d bytes, sessions from 1 to %d, and no limit is negative: "+
				"these are %+v", uint64(maxSegment), maxSlots, o))
	}
	return o, nil
}

// Area is a heap over segments, as one session sees it: all goroutines of a session share one.
// Its methods are safe for concurrent use, with Detach and the end of the session too: from that moment on they return
// ErrClosed, and what was in flight reaches no other session's memory. Slices from Bytes are valid until the object is
// freed or the area detached.
type Area struct {
	views
	source SegmentSource // nil: can't grow
	self   shmsync.Self
	lock   *shmsync.LWLock
	grow   *shmsync.LWLock

	handle  uint64
	slot    int
	notes   *[stripes]note // this session's
	guard   uint64         // bytes behind each object in checked mode
	careful bool           // each call is a scope
	swaps   bool           // notes are stored by an exchange

	ends   lifetime    // of all that this session has mapped of the area
	unwait func()      // takes back what the session and its view were given
	asking atomic.Bool // the others are about to be asked to unmap
	left   bool        // Detach has been through; under all stripes
	hooks  hooks

	stripes [stripes]stripe // taken in order, before the locks above
	heaps   []heap          // by class, each under its stripe

	reclaimed int // objects that dead sessions had in their hands; under the lock

	vain [maxClasses + 1]atomic.Uint64 // by class plus one: freedSum when a search for spans was in vain

	most atomic.Int64 // of SetWait; 0 is patience

	cut   int    // chunks that the source was asked for last, after it had refused more; 0: never. Under the lock for growth
	cutAt uint64 // the header's returned at that time

	maps  [maxRows]atomic.Pointer[mapping]
	mapMu sync.Mutex    // innermost
	stale []*mapping    // of earlier lives, to be unmapped; under mapMu
	seen  atomic.Uint64 // the header's returned, as of the last sweep
}

// Create makes an area whose segments come from source, with one segment, and attaches it. Others attach
// it by Handle. It goes, all segments with it, when the last session detaches, unless it is pinned.
func Create(ctx context.Context, source SegmentSource, self shmsync.Self, o Options) (*Area, error) {
	o, err := o.complete()
	if err != nil {
		return nil, err
	}
	start := firstSegment(o.Sessions)
	chunks := max(1, (o.Initial-int(start)+chunkSize+spanSize-1)/(chunkSize+spanSize))
	g := geometryOf(start, chunks)
	seg, err := source.Create(ctx, int(g.size))
	if err != nil {
		return nil, fmt.Errorf("dsa: create an area: %w", err)
	}
	a, err := create(seg, source, self, o, g, 0)
	if err == nil {
		failpoint.Hit("dsa/create/made")
		if err = a.keep(ctx, seg); err == nil {
			return a, nil
		}
	}
	return nil, errors.Join(fmt.Errorf("dsa: create an area: %w", err), seg.Detach())
}

// keep pins a new area's first segment. If the area has been detached meanwhile, that may have come
// before the pin.
func (a *Area) keep(ctx context.Context, seg Segment) error {
	err := seg.Pin(ctx)
	if a.ends.Ended() {
		err = errors.Join(errClosed, a.unpinned(ctx, seg.Handle()))
	}
	return err
}

// CreateInPlace makes an area whose first segment is the region, whose bytes must be zero; more come from
// source, or, if that is nil, none. Others find it with AttachInPlace, in the same place. The region must
// stay mapped until Detach, and begin at a multiple of 16; with few sessions 96 KiB are enough.
func CreateInPlace(r shm.Region, source SegmentSource, self shmsync.Self, o Options) (*Area, error) {
	o, err := o.complete()
	if err != nil {
		return nil, err
	}
	g := fitting(firstSegment(o.Sessions), min(uint64(r.Len()), maxSegment))
	if g.chunks < 1 {
		return nil, errkind.As(ErrSize,
			fmt.Errorf("dsa: an area for %d sessions takes %d bytes or more, and this is a region of %d",
				o.Sessions, geometryOf(firstSegment(o.Sessions), 1).size, r.Len()))
	}
	return create(place(r), source, self, o, g, flagInPlace)
}

func create(
	seg Segment, source SegmentSource, self shmsync.Self, o Options, g geometry, flags uint32,
) (a *Area, err error) {
	err = seg.With(func(b []byte) error {
		a, err = createIn(b, seg, source, self, o, g, flags)
		return err
	})
	return a, err
}

func createIn(
	b []byte, seg Segment, source SegmentSource, self shmsync.Self, o Options, g geometry, flags uint32,
) (*Area, error) {
	v, err := view(shm.NewRegion(b), o.Sessions)
	if err != nil {
		return nil, err
	}
	h := v.head
	if h.magic.Load() != 0 {
		return nil, errkind.As(errkind.Exists, errors.New("dsa: create wants zero bytes: there is an area already"))
	}
	if o.Checked || self.Checked {
		flags |= flagChecked
	}
	h.version.Store(version)
	h.flags.Store(flags)
	h.id.Store(rand.Uint64() | 1)
	h.slots.Store(uint32(o.Sessions))
	h.initial.Store(uint32(g.chunks))
	h.largest.Store(uint64(o.MaxSegment) / (chunkSize + spanSize))
	h.keep.Store(uint64(o.Keep))
	h.limit.Store(uint64(o.Limit))
	h.total.Store(g.size)
	r := &v.rows[0]
	r.handle.Store(seg.Handle())
	a := newArea(v, seg, source, self)
	m, err := a.format(b, seg, g, 0, 1)
	if err == nil {
		r.live(g.chunks, 1)
		err = a.join(0)
	}
	if err == nil {
		h.magic.Store(magic)
		err = a.installFirst(m)
	}
	if err != nil {
		a.end()
		return nil, err
	}
	return a, nil
}

// Attach finds an area by its handle. One that is gone is ErrNotFound, one of another layout version ErrVersion, a full
// table of sessions ErrFull.
func Attach(ctx context.Context, source SegmentSource, self shmsync.Self, handle uint64) (*Area, error) {
	seg, err := source.Attach(ctx, handle)
	if err != nil {
		return nil, fmt.Errorf("dsa: attach an area: %w", err)
	}
	a, err := attach(ctx, seg, source, self)
	if err != nil {
		return nil, errors.Join(err, seg.Detach())
	}
	return a, nil
}

// AttachInPlace finds the area that somebody made in the region. All who use it name a source of
// the same kind, or none.
func AttachInPlace(ctx context.Context, r shm.Region, source SegmentSource, self shmsync.Self) (*Area, error) {
	return attach(ctx, place(r), source, self)
}

func attach(ctx context.Context, seg Segment, source SegmentSource, self shmsync.Self) (a *Area, err error) {
	err = seg.With(func(b []byte) error {
		a, err = attachIn(ctx, b, seg, source, self)
		return err
	})
	return a, err
}

func attachIn(ctx context.Context, b []byte, seg Segment, source SegmentSource, self shmsync.Self) (*Area, error) {
	r := shm.NewRegion(b)
	if r.Len() < headerSize {
		return nil, corrupt("no area begins here: the segment has %d bytes, an area's first one has more than %d", r.Len(), headerSize)
	}
	h, err := shm.At[header](r, 0)
	if err != nil {
		return nil, err
	}
	if m := h.magic.Load(); m != magic {
		return nil, corrupt("no area begins here: the magic number is %#x", m)
	}
	if v := h.version.Load(); v != version {
		return nil, errkind.OtherVersion("dsa: the area", uint64(v), version, "the processes that have it attached")
	}
	slots := h.slots.Load()
	if slots == 0 || slots > maxSlots {
		return nil, corrupt("the area has room for %d sessions", slots)
	}
	v, err := view(r, int(slots))
	if err != nil {
		return nil, err
	}
	state, life := rowOf(v.rows[0].word.Load())
	if state != rowLive {
		return nil, corrupt("row 0 is in state %d", state)
	}
	a := newArea(v, seg, source, self)
	m, err := a.check(b, seg, 0, life)
	if err != nil {
		a.end()
		return nil, err
	}
	a.maps[0].Store(m)
	if err = a.striped(func() error { return a.enter(ctx) }); err != nil {
		a.end()
		return nil, errors.Join(err, a.unmapAll())
	}
	if err = a.installFirst(m); err != nil {
		return nil, errors.Join(err, a.Detach())
	}
	return a, nil
}

func newArea(v views, first Segment, source SegmentSource, self shmsync.Self) *Area {
	ends := first.View().Sub()
	a := &Area{
		views: v, ends: lifetime{ends}, unwait: self.View.OnEnd(ends.End), source: source, self: self,
		heaps: make([]heap, len(classes)), slot: -1, handle: v.rows[0].handle.Load(),
		lock: shmsync.NewLWLockUnder(ends, &v.head.lock, self), grow: shmsync.NewLWLockUnder(ends, &v.head.grow, self),
	}
	if v.head.flags.Load()&flagChecked != 0 {
		a.guard = 8
	}
	if self.OnAsk != nil {
		unwait, stop := a.unwait, self.OnAsk(func() { _ = a.Current() })
		a.unwait = func() { unwait(); stop() }
	}
	a.careful = a.guard != 0 || self.Checked // what has been detached is inaccessible then
	a.seen.Store(v.head.returned.Load())
	return a
}

// end is the end of the area for this session: no call begins, and none in flight gives an answer.
func (a *Area) end() {
	a.ends.End()
	if a.unwait != nil {
		a.unwait()
	}
}

// lifetime is a view. The zero one, which is that of an Area that was not made by Create or Attach, has ended.
type lifetime struct{ *shm.View }

func (l lifetime) Ended() bool { return l.View == nil || l.View.Ended() }

// View ends when the area is detached or its session ends, whatever comes first. What lies in the area's objects
// asks it.
func (a *Area) View() *shm.View {
	if a.ends.View == nil {
		v := shm.NewView(nil)
		v.End()
		return v
	}
	return a.ends.View
}

// Self returns the session's, as Create or Attach was told.
func (a *Area) Self() shmsync.Self { return a.self }

// Handle names the area for Attach; 0 for one in place.
func (a *Area) Handle() uint64 { return a.handle }

// Pin makes the area stay without any session. Pinning twice is the same as once.
func (a *Area) Pin(ctx context.Context) error { return a.setPinned(ctx, 1) }

// Unpin undoes Pin.
func (a *Area) Unpin(ctx context.Context) error { return a.setPinned(ctx, 0) }

func (a *Area) setPinned(ctx context.Context, v uint32) error {
	return a.under(ctx, func() error {
		a.head.pinned.Store(v)
		return nil
	})
}

// SetLimit sets how many bytes all segments may have; 0 is no limit. Those that are there stay.
func (a *Area) SetLimit(ctx context.Context, bytes int64) error {
	if bytes < 0 {
		return errkind.As(ErrSize, fmt.Errorf("dsa: a limit of %d bytes", bytes))
	}
	return a.under(ctx, func() error {
		a.head.limit.Store(uint64(bytes))
		return nil
	})
}

// Total returns the number of bytes of all segments; 0 after the end.
func (a *Area) Total() (n int64) {
	err := a.contained(func() error {
		n = int64(a.head.total.Load())
		return nil
	})
	if a.answer(err) != nil {
		return 0
	}
	return n
}

var errClosed = errkind.As(ErrClosed, errors.New("dsa: the area has been detached"))

// place is a region as a segment that is somebody else's.
type place shm.Region

func (p place) Handle() uint64 { return 0 }
func (p place) With(f func([]byte) error) error {
	b, _ := shm.Region(p).Bytes(0, shm.Region(p).Len())
	return f(b)
}
func (p place) View() *shm.View             { return shm.Region(p).View() }
func (p place) Pin(context.Context) error   { return nil }
func (p place) OnDetach(func()) func() bool { return func() bool { return true } }
func (p place) Detach() error               { return nil }
