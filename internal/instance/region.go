package instance

import (
	"context"
	"fmt"

	"github.com/godsm/godsm/dsmimpl"
)

// openRegion maps the reserved region, for sessions that will allocate from it. A failure does not prevent joining;
// RegionErr keeps it.
func (b *Books) openRegion(ctx context.Context) {
	if b.Table.Limits.Reserved > 0 {
		b.Region, b.RegionErr = b.mapRegion(ctx, dsmimpl.ReadWrite)
	}
}

func (b *Books) mapRegion(ctx context.Context, access dsmimpl.Access) (dsmimpl.Mapping, error) {
	m, err := b.Backend.Attach(ctx, b.Record.regionObject(b.Table.Limits.Reserved), access)
	if err != nil {
		err = fmt.Errorf("reserved region: %w", err)
	}
	return m, err
}

// KeepRegion makes the mapping of the reserved region the caller's to end. Close then does not unmap it.
func (b *Books) KeepRegion() { b.keeps = true }
