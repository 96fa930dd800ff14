package instance

import (
	"context"
	"fmt"

	"github.com/godsm/godsm/control"
	"github.com/godsm/godsm/dsmimpl"
	"github.com/godsm/godsm/internal/bytesize"
	"github.com/godsm/godsm/internal/excerpt"
)

// What a session has its backend do. A program may provide a backend of its own: if it panics that is an error
// here, since a call that never came back would keep its session from closing.

// Map maps what an entry lies in, for the caller alone: its object or, of a carved one, all of the
// reserved region, since not every system can map a part. Where in it the entry's bytes are, says
// Part.
func (b *Books) Map(ctx context.Context, e control.Entry, access dsmimpl.Access) (m dsmimpl.Mapping, err error) {
	err = b.panicAsErr("Attach", func() error {
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
		err = b.panicAsErr("AttachPart", func() error {
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
	return b.panicAsErr("Detach", func() error { return b.Backend.Detach(m) })
}

// FaultCause says why bytes of an entry may be gone from under their mapping, as far as its file system tells.
func (b *Books) FaultCause(e *control.Entry) string {
	r, ok := b.Backend.(interface {
		Room() (string, uint64, uint64)
	})
	if _, carved := e.Carved(); ok && !carved {
		if where, size, free := r.Room(); size > 0 && free < 1<<20 {
			return fmt.Sprintf("the file system of %s is full (%s of %s are free), and it could not keep what was "+
				"reserved: copy-on-write file systems can't when there is a snapshot. Make room, or set mmap_directory to "+
				"another one", where, bytesize.Format(free), bytesize.Format(size))
		}
	}
	return "the object was truncated, or its file system failed"
}

func (b *Books) panicAsErr(what string, f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the backend's %s panicked: %s", what, excerpt.Print(p))
		}
	}()
	return f()
}
