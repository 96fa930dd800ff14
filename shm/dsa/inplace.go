package dsa

import (
	"context"
	"fmt"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/shmsync"
)

// CreateInPlace makes an area whose first segment is the region, whose bytes must be zero; more come from
// source, or, if that is nil, none. Others find it with AttachInPlace, in the same place. The region must
// stay mapped until Detach, and begin at a multiple of 16; with few sessions 96 KiB are enough. A region that is too
// small is ErrSize, and one in which there is an area already is an error.
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
	return create(inPlaceSegment(r), source, self, o, g, flagInPlace)
}

// inPlaceSegment is the Segment of an area in place: a region whose bytes belong to the caller of CreateInPlace or
// AttachInPlace. So there is nothing to pin or to detach, and the region's own view says when the bytes end.
type inPlaceSegment shm.Region

func (p inPlaceSegment) Handle() uint64 { return 0 }

// With runs f on all bytes of the region. It does not keep them: the caller does, until Detach.
func (p inPlaceSegment) With(f func([]byte) error) error {
	b, _ := shm.Region(p).Bytes(0, shm.Region(p).Len())
	return f(b)
}

func (p inPlaceSegment) View() *shm.View { return shm.Region(p).View() }

func (p inPlaceSegment) Pin(context.Context) error { return nil }

func (p inPlaceSegment) OnDetach(func()) func() bool { return func() bool { return true } }

func (p inPlaceSegment) Detach() error { return nil }

// AttachInPlace attaches the area that another session has made in the region, with CreateInPlace. All sessions of an
// area name a source of the same kind, or all of them none. The region must stay mapped until Detach. Errors are those
// of Attach.
func AttachInPlace(ctx context.Context, r shm.Region, source SegmentSource, self shmsync.Self) (*Area, error) {
	return attach(ctx, inPlaceSegment(r), source, self)
}
