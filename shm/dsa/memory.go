package dsa

import (
	"context"
	"fmt"
	"sync"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/shm"
)

// Heap is a SegmentSource of ordinary memory, for several areas in one process: for tests, and for programs that have
// no instance. Its zero value is ready. It has nothing to do with what a session keeps of a class, in heap.go.
//
// The garbage collector frees a segment's bytes, so a slice into them stays readable after the segment has gone. A
// detached attachment still hands out its bytes; no view of it ends.
type Heap struct {
	// mu guards all but Limit.
	mu sync.Mutex
	// last is the handle of the newest segment. None is used twice.
	last     uint64
	segments map[uint64]*heapSegment
	// Limit, if not 0, is how many bytes there are. It is set before the first use.
	Limit int
	inUse int
}

// heapSegment is a segment of a Heap, under the Heap's mu but for handle and bytes, which never change.
type heapSegment struct {
	handle   uint64
	bytes    []byte
	attached int
	pinned   bool
}

// Create implements SegmentSource. More bytes than Limit leaves are an error that matches ErrNoMemory.
func (h *Heap) Create(_ context.Context, size int) (Segment, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.Limit > 0 && size > h.Limit-h.inUse {
		return nil, errkind.As(errkind.NoSpace, fmt.Errorf("%d bytes: %d of %d are in use", size, h.inUse, h.Limit))
	}
	if h.segments == nil {
		h.segments = map[uint64]*heapSegment{}
	}
	h.last++
	s := &heapSegment{handle: h.last, bytes: alignedBytes(size), attached: 1}
	h.segments[s.handle] = s
	h.inUse += size
	return &heapAttachment{heap: h, segment: s}, nil
}

// Attach implements SegmentSource. A handle that leads to no segment is ErrNotFound.
func (h *Heap) Attach(_ context.Context, handle uint64) (Segment, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s, err := h.findLocked(handle)
	if err != nil {
		return nil, err
	}
	s.attached++
	return &heapAttachment{heap: h, segment: s}, nil
}

// Unpin implements SegmentSource. A segment that is not pinned stays as it is.
func (h *Heap) Unpin(_ context.Context, handle uint64) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	s, err := h.findLocked(handle)
	if err != nil {
		return err
	}
	s.pinned = false
	h.forgetUnusedLocked(s)
	return nil
}

// InUse returns how many segments there are, and how many bytes they have together.
func (h *Heap) InUse() (segments, bytes int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.segments), h.inUse
}

// findLocked returns the segment with that handle. The caller holds h.mu.
func (h *Heap) findLocked(handle uint64) (*heapSegment, error) {
	if s := h.segments[handle]; s != nil {
		return s, nil
	}
	return nil, errkind.As(errkind.NotFound, fmt.Errorf("no segment %d", handle))
}

// forgetUnusedLocked forgets a segment that is neither attached nor pinned. The caller holds h.mu.
func (h *Heap) forgetUnusedLocked(s *heapSegment) {
	if s.attached == 0 && !s.pinned {
		delete(h.segments, s.handle)
		h.inUse -= len(s.bytes)
	}
}

// heapAttachment is one attachment of a segment. Its detached is under the Heap's mu.
type heapAttachment struct {
	heap     *Heap
	segment  *heapSegment
	detached bool
}

func (a *heapAttachment) Handle() uint64 { return a.segment.handle }

// With calls f with the bytes, also after Detach.
func (a *heapAttachment) With(f func([]byte) error) error { return f(a.segment.bytes) }

// Pin makes the segment stay until Unpin.
func (a *heapAttachment) Pin(context.Context) error {
	a.heap.mu.Lock()
	defer a.heap.mu.Unlock()
	a.segment.pinned = true
	return nil
}

// View returns nil: the bytes never end.
func (a *heapAttachment) View() *shm.View { return nil }

// OnDetach ignores f, since no bytes go.
func (a *heapAttachment) OnDetach(func()) func() bool { return func() bool { return true } }

// Detach ends the attachment. The last one takes a segment that is not pinned with it.
func (a *heapAttachment) Detach() error {
	a.heap.mu.Lock()
	defer a.heap.mu.Unlock()
	if !a.detached {
		a.detached = true
		a.segment.attached--
		a.heap.forgetUnusedLocked(a.segment)
	}
	return nil
}
