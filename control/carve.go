package control

import (
	"context"
	"fmt"
	"runtime/debug"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/failpoint"
)

// Carved reports whether the segment lies in the reserved region, and at which byte of it; at 0 if it does not.
func (e *Entry) Carved() (offset int, is bool) {
	if e.Page == 0 {
		return 0, false
	}
	return int(e.Page-1) * PageSize, true
}

// Carve makes a segment out of the reserved region: its row is live at once, and the member holds a reference. The
// caller says Publish; until then no other process can attach it, so that no process ever sees the bytes that were there before.
// False: there is no room in the region, or no region, and the caller says Create. Its errors are Create's. Now is
// Unix time in ns, and may be a little old: what one member creates bears times in its order.
func (m *Member) Carve(ctx context.Context, size int, now int64) (e Entry, ok bool, err error) {
	return m.carve(ctx, size, now, plain)
}

func (m *Member) carve(ctx context.Context, size int, now int64, how entrance) (e Entry, ok bool, err error) {
	if uint64(size) > m.t.Limits.Reserved {
		return e, false, nil
	}
	random := randomHandle()
	s, err := m.enter(ctx, how)
	if err != nil {
		return e, false, err
	}
	defer s.leave(&err)
	first, ok := m.t.freePages(int(pagesFor(uint64(size))))
	if !ok {
		return e, false, nil
	}
	i, err := m.room(size, how != atOnce) // else Carve asks again
	if err != nil {
		return e, false, err
	}
	e = Entry{Handle: random | uint64(i), Size: size, Page: uint32(first + 1), CreatorPid: m.who.Pid}
	failpoint.Hit("control/carve/locked")
	m.t.takePages(e.Page, uint64(size))
	failpoint.Hit("control/carve/taken")
	m.write(&e, now, Live)
	m.created(size)
	failpoint.Hit("control/carve/live")
	return e, true, nil
}

// TryCarve is Carve for a caller that does not wait. False: there is no segment, and Carve would wait, make one or say
// why not.
func (m *Member) TryCarve(size int, now int64) (e Entry, ok bool) {
	e, ok, err := m.carve(context.Background(), size, now, atOnce)
	return e, ok && err == nil
}

// Publish zeroes the bytes of a segment that this member has carved, and lets others attach it. If the
// instance is being closed it is ErrStale, and the segment's row is free, or will be when the member
// says Unref. It takes no lock.
func (m *Member) Publish(e *Entry, bytes []byte) (err error) {
	blank := false
	fault := debug.SetPanicOnFault(true)
	defer func() {
		if r := recover(); r != nil {
			if err = corruption(r); !blank {
				err = errkind.As(ErrCorrupt, fmt.Errorf("the reserved region is gone from under its mapping: "+
					"another process truncated the object (%v)", r))
			}
		}
		debug.SetPanicOnFault(fault)
	}()
	clear(bytes)
	blank = true
	failpoint.Hit("control/publish/blank")
	if i := e.row(); i >= len(m.t.segments) ||
		!m.t.segments[i].word.CompareAndSwap(m.unpublished(), segmentWord(Live, 0, 0)) {
		return ErrStale
	}
	failpoint.Hit("control/publish/done")
	return nil
}

// TryUnref does what Unref does, of a carved segment and for a caller that does not wait. False: nothing has changed.
func (m *Member) TryUnref(e Entry) (done bool) {
	if e.Page == 0 {
		return false
	}
	_, err := m.unref(context.Background(), e, atOnce)
	return err == nil
}

// unpublished returns the word of a live row that this member has carved, and that no other process may attach yet.
func (m *Member) unpublished() uint64 { return segmentWord(Live, m.row, m.incarnation) }
