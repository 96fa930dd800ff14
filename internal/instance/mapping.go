package instance

import (
	"context"

	"github.com/godsm/godsm/control"
	"github.com/godsm/godsm/dsmimpl"
)

// What a session has its backend do. A program may provide a backend of its own: if it panics that is an error
// here, since a call that never came back would keep its session from closing.

// Map maps what an entry lies in, for the caller alone: its object or, of a carved one, all of the
// reserved region, since not every system can map a part. Where in it the entry's bytes are, says
// Part.
func (b *Books) Map(ctx context.Context, e control.Entry, access dsmimpl.Access) (m dsmimpl.Mapping, err error) {
	err = b.containBackend("Attach", func() error {
		if _, carved := e.Carved(); carved {
			m, err = b.mapRegion(ctx, access)
		} else {
			m, err = b.Backend.Attach(ctx, b.Object(e), access)
		}
		return err
	})
	return m, err
}

// MapOwn maps what an entry lies in for reading and writing, for one user alone and as little of it as the backend
// can: of a carved one only its pages, where parts can be mapped. Part are the entry's bytes.
func (b *Books) MapOwn(ctx context.Context, e control.Entry) (m dsmimpl.Mapping, part []byte, err error) {
	at, carved := e.Carved()
	if p, ok := b.Backend.(dsmimpl.PartAttacher); ok && carved {
		err = b.containBackend("AttachPart", func() error {
			m, part, err = p.AttachPart(ctx, b.Record.regionObject(b.Table.Limits.Reserved), at, e.Size)
			return err
		})
		return m, part, err
	}
	if m, err = b.Map(ctx, e, dsmimpl.ReadWrite); err == nil {
		part = Part(m, &e)
	}
	return m, part, err
}

// Unmap ends a mapping.
func (b *Books) Unmap(m dsmimpl.Mapping) error {
	return b.containBackend("Detach", func() error { return b.Backend.Detach(m) })
}
