package dsa

import (
	"context"

	"github.com/godsm/godsm/shm"
)

// SegmentSource is where an area gets its segments from. Package area has one over a dsm.Session.
// It must be safe for concurrent use.
type SegmentSource interface {
	// Create makes a segment of size bytes, all zero. Until it is pinned it goes with this
	// process's last attachment, however that ends.
	Create(ctx context.Context, size int) (Segment, error)
	// Attach maps the segment with that handle, which some process has from Segment.Handle. One
	// that is gone is ErrNotFound.
	Attach(ctx context.Context, handle uint64) (Segment, error)
	// Unpin undoes Pin: the segment goes with its last attachment. One that is gone, or not pinned, is ErrNotFound.
	Unpin(ctx context.Context, handle uint64) error
}

// Segment is one attachment of a segment of a source.
type Segment interface {
	// Handle names it in every process, and is never 0.
	Handle() uint64
	// With hands the bytes to f, in place, aligned to 64 or more. They stay until Detach and,
	// whoever detaches meanwhile, until f returns. After Detach it is ErrClosed.
	With(f func(b []byte) error) error
	// Pin makes the segment stay whoever has it attached, until it is unpinned.
	Pin(ctx context.Context) error
	// View ends with the attachment at the latest; nil if the bytes never end. Once it has ended the bytes may be swapped
	// for private pages at any time after what OnDetach was given has been called, unless the view is held.
	View() *shm.View
	// OnDetach has f called before the bytes go, however that comes about; at once if they have gone.
	OnDetach(f func()) (cancel func() bool)
	// Detach ends the attachment. Twice is harmless.
	Detach() error
}
