package instance

import (
	"context"
	"errors"

	"github.com/godsm/godsm/dsmimpl"
	"github.com/godsm/godsm/internal/errkind"
)

// Lost returns which of the control segment and the reserved region, which are mapped here, no process can find any
// more, since it was removed. It is empty if both are there.
func (b *Books) Lost(ctx context.Context) (what string) {
	if b.isMissing(ctx, b.Record.controlObject()) {
		return "control segment"
	}
	if n := b.Table.Limits.Reserved; n > 0 && b.isMissing(ctx, b.Record.regionObject(n)) {
		return "reserved region"
	}
	return ""
}

// SeesMemory names the memory that this process sees, and reports whether that is the one that the life is in.
func (b *Books) SeesMemory() (seen string, same bool) {
	return memoryOf(b.Backend), sameMemory(b.Backend, b.Record)
}

func (b *Books) isMissing(ctx context.Context, o dsmimpl.Object) bool {
	m, err := b.Backend.Attach(ctx, o, dsmimpl.ReadOnly)
	if err == nil {
		err = b.Backend.Detach(m)
	}
	return errors.Is(err, errkind.NotFound)
}
