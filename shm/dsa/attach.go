package dsa

import (
	"context"
	"errors"
	"fmt"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/shmsync"
)

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
