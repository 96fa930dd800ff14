package dsa

import (
	"context"

	"github.com/godsm/godsm/shm"
)

// This file is all that the package knows of where bytes come from. It asks little, so that an area also works in
// ordinary memory: segments by handle, which stay while they are attached or pinned, and an announcement before bytes
// go.

// SegmentSource is where an area gets its segments from. Package area has one over a dsm.Session, and Heap is one of
// ordinary memory. It must be safe for concurrent use. Each process has its own, and they agree on handles.
type SegmentSource interface {
	// Create makes a segment of size bytes, all zero, and attaches it. Until it is pinned it goes with this process's
	// last attachment, however that ends. An error that matches ErrNoMemory or ErrSize has the area ask for less. It
	// may block for as long as the system takes to make that much memory; the area's lock is not held.
	Create(ctx context.Context, size int) (Segment, error)
	// Attach maps the segment with that handle, which some process has from Segment.Handle. One
	// that is gone is ErrNotFound. It may be called while the area's lock is held, and so should not wait for other
	// processes.
	Attach(ctx context.Context, handle uint64) (Segment, error)
	// Unpin undoes Pin: the segment goes with its last attachment. One that is gone, or not pinned, is ErrNotFound,
	// which the area takes for success: the process that unpinned it has died before it could write that down.
	Unpin(ctx context.Context, handle uint64) error
}

// Segment is one attachment of a segment of a source. Its methods are safe for concurrent use.
type Segment interface {
	// Handle names it in every process, and is never 0.
	Handle() uint64
	// With calls f with the bytes, in place, aligned to 64 or more, and returns f's error. The bytes stay until Detach,
	// and until f has returned if another goroutine detaches the segment in between. After Detach it returns ErrClosed.
	With(f func(b []byte) error) error
	// Pin makes the segment stay, with or without attachments, until it is unpinned.
	Pin(ctx context.Context) error
	// View returns a view that ends with the attachment or earlier; nil if the bytes never end. Once it has ended, and
	// the functions of OnDetach have been called, the bytes may be swapped for private pages at any time, unless the
	// view is held.
	View() *shm.View
	// OnDetach has f called before the bytes go, however that comes about; at once if they have gone. Cancel takes f
	// back, and reports whether f will not be called.
	OnDetach(f func()) (cancel func() bool)
	// Detach ends the attachment. Detaching twice is harmless.
	Detach() error
}
