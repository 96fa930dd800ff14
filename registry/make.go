package registry

import (
	"context"
	"errors"

	"github.com/godsm/godsm/area"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/shm/dsa"
)

// What a name stands for is made in steps, each of which leaves something that the next call of any session can clear
// away:
//
//	step                           a session that dies after it leaves
//	the row is making (resolve)    a row without a handle: freed
//	the segment is made            the same, and a segment that goes with its only holder
//	its handle is noted            a row with a handle: the segment goes with its only holder, the row is freed
//	it is pinned                   a segment that stays: unpinned, by the handle in the row
//	create has filled it           the same: nothing of it is used
//	the row is ready (publish)     what has the name
//
// So the handle is noted before the pin: a pinned segment that no row names would stay until the instance ends. This
// file promises that order. That create itself can be cut short anywhere is no matter, since nothing that it has made
// is found.

// makeArea makes an area for a claim, pinned if it is to stay. The area's first segment is noted in the row on the way.
func makeArea(ctx context.Context, c *claim, w wish, o dsa.Options) (*dsa.Area, error) {
	s := c.names.session
	a, err := dsa.Create(ctx, &noting{SegmentSource: area.Source(s, w.owner), claim: c}, s.Self(), o)
	if err != nil {
		return nil, err
	}
	if !w.transient {
		if err := a.Pin(ctx); err != nil {
			_ = a.Detach()
			return nil, err
		}
	}
	failpoint.Hit("registry/area/pinned")
	return a, nil
}

// noting is where a new area gets its segments from. It notes the first one in the claimed row
// before any process pins it, so that it can be removed if this session dies.
type noting struct {
	dsa.SegmentSource
	claim *claim // nil after that
}

// Create makes a segment, and notes the first one. A segment that could not be noted is let go, and the area is not
// made.
func (o *noting) Create(ctx context.Context, size int) (dsa.Segment, error) {
	g, err := o.SegmentSource.Create(ctx, size)
	if c := o.claim; c != nil && err == nil {
		o.claim = nil
		if err = c.noteHandle(ctx, g.Handle()); err != nil {
			return nil, errors.Join(err, g.Detach())
		}
	}
	return g, err
}
