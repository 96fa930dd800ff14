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

// Kinds of failure. They match with errors.Is. An error of the source comes through: no space, a quota, a full table.
var (
	// ErrCorrupt: shared bytes hold what no session of this package writes, or are gone from under their mapping.
	ErrCorrupt = shm.ErrCorrupt
	// ErrSize: neither an object nor an area can have that size.
	ErrSize = errkind.Size
	// ErrLimit: the area's limit is reached. The kind is that of a quota of the instance too; the text tells the two
	// apart.
	ErrLimit = errkind.Quota
	// ErrFull: no row is left for a segment or a session, or the area is in place and has no source to grow from.
	ErrFull = errkind.Full
	// ErrNoMemory matches everything that keeps an area from growing. Freeing objects, by any session, is the answer to
	// it.
	ErrNoMemory = errkind.NoMemory
	// ErrClosed: the area was detached, or its session has ended.
	ErrClosed = errkind.Closed
	// ErrNotFound: the area is gone.
	ErrNotFound = errkind.NotFound
	// ErrVersion: the area has another layout version. The text says which program to upgrade.
	ErrVersion = errkind.Version

	// ErrPointer: no object of this area is there now. It was freed before, or never was. See the package comment.
	ErrPointer = errors.New("not the pointer of an allocated object")
	// ErrOverrun, in checked mode: a program wrote past the object's end.
	ErrOverrun = errors.New("the bytes behind the object have been overwritten")
)

// Area is a heap over segments, as one session sees it: all goroutines of a session share one.
// Its methods are safe for concurrent use, with Detach and the end of the session too: from that moment on they return
// ErrClosed, and what was in flight reaches no other session's memory. Slices from Bytes are valid until the object is
// freed or the area detached.
type Area struct {
	// views are the windows on the first segment. Its head is nil in the zero Area, whose calls all return ErrClosed.
	views
	// returned is the header's word of that name, for Returned; nil in checked mode and in the zero Area.
	returned *atomic.Uint64
	// source is where segments come from; nil if the area cannot grow.
	source SegmentSource
	self   shmsync.Self
	lock   *shmsync.LWLock
	grow   *shmsync.LWLock

	// handle is the first segment's.
	handle uint64
	// slot is the number of this session's slot, -1 until it has joined. Owned is what the state of a span has in kind
	// and slot while this session has it to itself.
	slot  int
	owned uint64
	// guard is how many guard bytes each object has behind it at least: 8 in checked mode, else 0.
	guard uint64
	// careful is true if each call runs in a scope in which a fault is an error.
	careful bool
	// swaps is true if notes are stored by an exchange; see noteOrder.
	swaps bool

	// ends is the view of all that this session has mapped of the area.
	ends lifetime
	// unwait takes back what the session and its view were given. It is called once the area has ended.
	unwait func()
	// asking is true while a timer runs after which the other sessions are asked to unmap.
	asking atomic.Bool
	// left is true once Detach has left. It is read and written under all stripes.
	left  bool
	hooks hooks

	// stripes come before all other locks; see the package comment.
	stripes [stripes]stripe
	// heaps are, by class, what this session has to itself, each under the stripe of its class.
	heaps [maxClasses]heap

	// reclaimed counts the objects that this session has freed for dead sessions. It is under the area's lock.
	reclaimed int

	// vain is, by class plus one, what freedSum returned when a search for spans was in vain last; 0 if none was. Class
	// -1 is that of searches for chunks. Goroutines may overwrite each other's value: then a search is made once more.
	vain [maxClasses + 1]atomic.Uint64

	// most is the bound of SetWait, in nanoseconds; 0 is patience.
	most atomic.Int64
	// cut is how many chunks the source was asked for last, after it had refused more; 0 is never. cutAt is what the
	// header's returned was then. Both are under the lock for growth.
	cut   int
	cutAt uint64

	// maps are, by row, the segments that this process has mapped. A mapping is stored under mapMu and taken away under
	// all stripes; it may be loaded without a lock, and has gone set once it was unmapped.
	maps [maxRows]atomic.Pointer[mapping]
	// mapMu is the innermost lock. It is held while the source maps a segment.
	mapMu sync.Mutex
	// stale are mappings of earlier lives of a row, which the next unmapReturned unmaps. It is under mapMu.
	stale []*mapping
	// seen is the header's returned, as of the last unmapReturned. It is stored under all stripes, and loaded without
	// one.
	seen atomic.Uint64
}

// newArea returns the Area of a session that has not joined yet. Its view ends with the first segment's view and with
// the session's, whichever is first. The session's other goroutines know nothing of it, except that the mail of the
// session has it unmap what went back; end takes that back.
func newArea(v views, first Segment, source SegmentSource, self shmsync.Self) *Area {
	ends := first.View().Sub()
	a := &Area{
		views: v, ends: lifetime{ends}, unwait: self.View.OnEnd(ends.End), source: source, self: self,
		slot: -1, handle: v.rows[0].handle.Load(),
		lock: shmsync.NewLWLockUnder(ends, &v.head.lock, self), grow: shmsync.NewLWLockUnder(ends, &v.head.grow, self),
	}
	if v.head.flags.Load()&flagChecked != 0 {
		a.guard = 8
	}
	if a.careful = a.guard != 0 || self.Checked; !a.careful { // what has been detached is inaccessible then
		a.returned = &v.head.returned
	}
	a.seen.Store(v.head.returned.Load())
	if self.OnAsk != nil {
		unwait, stop := a.unwait, self.OnAsk(func() { _ = a.contained(a.Current) }) // in a goroutine that has no caller
		a.unwait = func() { unwait(); stop() }
	}
	return a
}

// end ends the area for this session: from here on no call begins, and none in flight returns what it found. It waits
// for no call. A second call does no harm.
func (a *Area) end() {
	a.ends.End()
	if a.unwait != nil {
		a.unwait()
	}
}

// lifetime is a view. The zero one, which is that of an Area that was not made by Create or Attach, has ended already;
// a nil View never ends.
type lifetime struct{ *shm.View }

// Ended reports whether the view has ended.
func (l lifetime) Ended() bool { return l.View == nil || l.View.Ended() }

// View returns the view that ends when the area is detached or its session ends, whichever is first. A structure that
// lies in the area's objects asks it, and holds leases of it while it keeps a lock there. It is never nil.
func (a *Area) View() *shm.View {
	if a.ends.View == nil {
		v := shm.NewView(nil)
		v.End()
		return v
	}
	return a.ends.View
}

// Self returns the session's identity, as it was passed to Create or Attach.
func (a *Area) Self() shmsync.Self { return a.self }

// Handle returns the number by which Attach finds the area, in any process; 0 for an area in place. It stays valid for
// as long as the area exists.
func (a *Area) Handle() uint64 { return a.handle }

// Pin makes the area stay when its last session detaches, until it is unpinned and the last session detaches, or the
// source ends. Pinning twice is the same as once, and any session may unpin. It waits for the area's lock, for at most
// 10 seconds or until ctx ends.
func (a *Area) Pin(ctx context.Context) error { return a.setPinned(ctx, 1) }

// Unpin undoes Pin: the area goes when its last session detaches. It waits as Pin does.
func (a *Area) Unpin(ctx context.Context) error { return a.setPinned(ctx, 0) }

// setPinned stores the header's pinned.
func (a *Area) setPinned(ctx context.Context, v uint32) error {
	return a.withStripeAndLock(ctx, func() error {
		a.head.pinned.Store(v)
		return nil
	})
}

// SetLimit sets how many bytes all segments may have, for all sessions; 0 is no limit. Segments that are there stay,
// also if they are more: then the area does not grow until enough of them have gone back. A negative limit is ErrSize.
// It waits as Pin does.
func (a *Area) SetLimit(ctx context.Context, bytes int64) error {
	if bytes < 0 {
		return errkind.As(ErrSize, fmt.Errorf("dsa: a limit of %d bytes", bytes))
	}
	return a.withStripeAndLock(ctx, func() error {
		a.head.limit.Store(uint64(bytes))
		return nil
	})
}

// Total returns the number of bytes of all segments; 0 after the end. It takes no lock, so a segment that comes or goes
// at that moment may be counted or not.
func (a *Area) Total() (n int64) {
	err := a.contained(func() error {
		n = int64(a.head.total.Load())
		return nil
	})
	if a.orClosed(err) != nil {
		return 0
	}
	return n
}

var errClosed = errkind.As(ErrClosed, errors.New("dsa: the area has been detached"))

// Current unmaps the segments that went back since it was last called, as Free and Bytes do. If there is one, it waits
// for the calls of this package that are in flight in this process. After Detach it returns ErrClosed. Its first load is
// that of Returned.
func (a *Area) Current() error {
	if a.Returned() == a.seen.Load() {
		return a.orClosed(nil)
	}
	return a.unmapAfter(nil)
}

// Returned returns how many segments have gone back. While the number is the same, and the View has not ended, what
// Peek has returned stays mapped. It takes no lock. It is one load, and a fault of that, if the object was truncated, is
// the caller's, as one in what Peek has returned; but in checked mode it is 0 then.
func (a *Area) Returned() uint64 {
	if n := a.returned; n != nil {
		return n.Load()
	}
	return a.returnedContained()
}

// returnedContained is Returned in checked mode, and of the zero Area. It is a function of its own so that Returned can
// be inlined.
func (a *Area) returnedContained() (n uint64) {
	if a.head != nil {
		_ = a.contained(func() error { n = a.head.returned.Load(); return nil })
	}
	return n
}
