package dsa

import (
	"fmt"

	"github.com/godsm/godsm/internal/errkind"
)

// Options are an area's, fixed when it is made. Zeros mean the defaults.
type Options struct {
	// Initial is how many bytes the first segment has, about; the default is 1 MiB. Growth begins with segments of that
	// size.
	Initial int
	// MaxSegment is how many bytes growth adds at once, at most; the default is 1 GiB. A larger object gets a segment
	// of its own size.
	MaxSegment int
	// Limit is how many bytes all segments may have; 0 is no limit. SetLimit changes it later.
	Limit int64
	// Keep is how many bytes of empty segments are kept for the next need; the default is 16 MiB, and negative is none.
	// Further ones go back at once.
	Keep int64
	// Sessions is how many sessions can have the area attached at once; the default is 256, and 2048 is the most. Each
	// takes 256 bytes of the first segment.
	Sessions int

	// Checked finds writes past an object's end, and stale pointers: 8 bytes more for each object, and slower. An area
	// that is made in an instance in checked mode (Self.Checked) has it in any case, for all its sessions.
	Checked bool
}

// complete returns the options with the defaults filled in. Values out of range are ErrSize; the text names them all.
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
