package dsa

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/shmsync"
)

// This file makes an area. Until the area's magic number is stored no other process can attach it, and until its first
// segment is pinned that goes with this process's attachment: so a process that dies anywhere in between leaves
// nothing.

// Create makes an area whose segments come from source, with one segment, and attaches it. Others attach
// it by Handle. It goes, all segments with it, when the last session detaches, unless it is pinned.
//
// Options out of range are ErrSize; an error of the source comes through. It blocks as the source's Create does, and
// ctx ends that as far as the source obeys it.
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
		if err = a.pinFirstSegment(ctx, seg); err == nil {
			return a, nil
		}
	}
	return nil, errors.Join(fmt.Errorf("dsa: create an area: %w", err), seg.Detach())
}

// create runs createIn in the source's With, so that the bytes stay while they become an area.
func create(
	seg Segment, source SegmentSource, self shmsync.Self, o Options, g geometry, flags uint32,
) (a *Area, err error) {
	err = seg.With(func(b []byte) error {
		a, err = createIn(b, seg, source, self, o, g, flags)
		return err
	})
	return a, err
}

// createIn makes an area in b, which has the geometry g, and joins it as the first session. Bytes that hold an area
// already are an error that matches errkind.Exists.
//
// The magic number is stored after all else is complete, this session's slot included. A process that finds it can
// attach, and finds a session that is there: so the area is not taken for one that all have left. A death before it
// leaves bytes in which AttachInPlace finds no area; of a segment of a source nothing is left, since it was not pinned.
func createIn(
	b []byte, seg Segment, source SegmentSource, self shmsync.Self, o Options, g geometry, flags uint32,
) (*Area, error) {
	v, err := viewsOf(shm.NewRegion(b), o.Sessions)
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
	m, err := a.formatSegment(b, seg, g, 0, 1)
	if err == nil {
		r.makeLive(g.chunks, 1)
		err = a.joinSlot(0)
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
