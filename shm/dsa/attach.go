package dsa

import (
	"context"
	"errors"
	"fmt"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/shmsync"
)

// This file attaches an area that another session has made. The first segment comes from a handle or a region that the
// caller was given, so it can be anything: each number in it is checked before something is derived from it.

// Attach attaches the area with that handle, in any process of the same source.
//
// An area that is gone is ErrNotFound, one of another layout version ErrVersion, a full table of sessions ErrFull, and
// a segment that is no area's first one ErrCorrupt. Attach recovers what dead sessions left. It waits for the source,
// and for the area's lock for at most 10 seconds; ctx ends both.
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

// attach runs attachIn in the source's With, so that the bytes stay until the area has a hook at the segment's end.
func attach(ctx context.Context, seg Segment, source SegmentSource, self shmsync.Self) (a *Area, err error) {
	err = seg.With(func(b []byte) error {
		a, err = attachIn(ctx, b, seg, source, self)
		return err
	})
	return a, err
}

// attachIn attaches the area that begins in b. The first checks go from the outside in: the length, since a header has
// to be there; the magic number; the version, since all other fields are this version's; the number of slots, from
// which the place of the segment's own header follows; and that header, with which the number of chunks comes.
//
// Only then the session joins, since to join it takes the area's lock, for which it needs a mapping. The hook at the
// segment's end is set last: it detaches the area, which only a session that has joined can do.
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
	v, err := viewsOf(r, int(slots))
	if err != nil {
		return nil, err
	}
	state, life := rowOf(v.rows[0].word.Load())
	if state != rowLive {
		return nil, corrupt("row 0 is in state %d", state)
	}
	a := newArea(v, seg, source, self)
	m, err := a.checkedMapping(b, seg, 0, life)
	if err != nil {
		a.end()
		return nil, err
	}
	a.maps[0].Store(m)
	if err = a.withStripe(func() error { return a.joinFreeSlot(ctx) }); err != nil {
		a.end()
		return nil, errors.Join(err, a.unmapAll())
	}
	if err = a.installFirst(m); err != nil {
		return nil, errors.Join(err, a.Detach())
	}
	return a, nil
}
