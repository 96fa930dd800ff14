package dsa

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/godsm/godsm/internal/errkind"
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

	cut   int    // chunks that the source was asked for last, after it had refused more; 0: never. Under the lock for growth
	cutAt uint64 // the header's returned at that time

	maps  [maxRows]atomic.Pointer[mapping]
	mapMu sync.Mutex    // innermost
	stale []*mapping    // of earlier lives, to be unmapped; under mapMu
	seen  atomic.Uint64 // the header's returned, as of the last sweep
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
	return a.lockAndCall(ctx, func() error {
		a.head.pinned.Store(v)
		return nil
	})
}

// SetLimit sets how many bytes all segments may have; 0 is no limit. Those that are there stay.
func (a *Area) SetLimit(ctx context.Context, bytes int64) error {
	if bytes < 0 {
		return errkind.As(ErrSize, fmt.Errorf("dsa: a limit of %d bytes", bytes))
	}
	return a.lockAndCall(ctx, func() error {
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
