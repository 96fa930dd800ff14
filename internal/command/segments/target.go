package segments

import (
	"errors"
	"fmt"
	"slices"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/command/cli"
	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/registry"
)

// target is a segment that an argument names: by its handle, or by the name of what lies in it.
type target struct {
	dsm.SegmentInfo
	name registry.Info // empty if the segment has no name
}

// find finds the target of an argument in what was seen of the instance. A name goes before a handle of the same letters.
func find(r dsm.Report, names []registry.Info, arg string) (t target, err error) {
	h, noHandle := dsm.ParseHandle(arg)
	for _, x := range names {
		if x.Name == arg {
			t.name, h, noHandle = x, x.Handle, nil
			break
		}
		if noHandle == nil && x.Handle == h {
			t.name = x
		}
	}
	if noHandle != nil {
		return t, fmt.Errorf("%w: %q is neither a handle nor a name that there is: ls and names list them", cli.ErrUsage, arg)
	}
	i := slices.IndexFunc(r.Segments, func(s dsm.SegmentInfo) bool { return s.Handle == h })
	if i < 0 {
		return t, errkind.As(dsm.ErrNotFound, errors.New("no such segment: ls lists them"))
	}
	t.SegmentInfo = r.Segments[i]
	return t, nil
}
