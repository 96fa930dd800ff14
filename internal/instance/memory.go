package instance

import (
	"context"

	"github.com/godsm/godsm/dsmimpl"
)

// SeesMemory names the memory that this process sees, and reports whether that is the one that the life is in.
func (b *Books) SeesMemory() (seen string, same bool) {
	return memoryOf(b.Backend), sameMemory(b.Backend, b.Record)
}

// memoryOf names the memory in which the backend finds objects; it is empty if the backend has only one.
func memoryOf(b dsmimpl.Backend) string {
	if p, ok := b.(dsmimpl.Prober); ok {
		return p.Memory()
	}
	return ""
}

// sameMemory reports whether the backend sees the memory that the life was made in, as far as that can be told.
func sameMemory(b dsmimpl.Backend, r Record) bool { return r.Memory == "" || memoryOf(b) == r.Memory }

// lifeIsInOtherMemory reports whether the present life runs, and in memory that this process does not see: there is nothing to
// wait for.
func (d *Dir) lifeIsInOtherMemory(ctx context.Context, b Backends) bool {
	r, err := d.ReadRecord()
	if err != nil {
		return false
	}
	v, err := d.judge(ctx, b, r, 0)
	return err == nil && v.Standing == OtherMemory
}
