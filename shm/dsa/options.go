package dsa

import (
	"fmt"

	"github.com/godsm/godsm/internal/errkind"
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
