package dsa

import (
	"context"
	"fmt"
	"sync"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/shm"
)

// Heap is a SegmentSource of ordinary memory, for several areas' worth of goroutines in one
// process: for tests, and for programs that have no instance. Its zero value is ready.
type Heap struct {
	mu       sync.Mutex
	last     uint64
	segments map[uint64]*heapSegment
	// Limit, if not 0, is how many bytes there are.
	Limit int
	inUse int
}

type heapSegment struct {
	handle   uint64
	bytes    []byte
	attached int
	pinned   bool
}

// Create implements SegmentSource.
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
	s := &heapSegment{handle: h.last, bytes: aligned(size), attached: 1}
	h.segments[s.handle] = s
	h.inUse += size
	return &heapAttachment{heap: h, segment: s}, nil
}

// Attach implements SegmentSource.
func (h *Heap) Attach(_ context.Context, handle uint64) (Segment, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s, err := h.find(handle)
	if err != nil {
		return nil, err
	}
	s.attached++
	return &heapAttachment{heap: h, segment: s}, nil
}

// Unpin implements SegmentSource.
func (h *Heap) Unpin(_ context.Context, handle uint64) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	s, err := h.find(handle)
	if err != nil {
		return err
	}
	s.pinned = false
	h.drop(s)
	return nil
}

// InUse returns the number of segments there are, and of their bytes.
func (h *Heap) InUse() (segments, bytes int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.segments), h.inUse
}

func (h *Heap) find(handle uint64) (*heapSegment, error) {
	if s := h.segments[handle]; s != nil {
		return s, nil
	}
	return nil, errkind.As(errkind.NotFound, fmt.Errorf("no segment %d", handle))
}

func (h *Heap) drop(s *heapSegment) {
	if s.attached == 0 && !s.pinned {
		delete(h.segments, s.handle)
		h.inUse -= len(s.bytes)
	}
}

type heapAttachment struct {
	heap     *Heap
	segment  *heapSegment
	detached bool
}

func (a *heapAttachment) Handle() uint64 { return a.segment.handle }

func (a *heapAttachment) With(f func([]byte) error) error { return f(a.segment.bytes) }

func (a *heapAttachment) Pin(context.Context) error {
	a.heap.mu.Lock()
	defer a.heap.mu.Unlock()
	a.segment.pinned = true
	return nil
}

func (a *heapAttachment) View() *shm.View { return nil }

func (a *heapAttachment) OnDetach(func()) func() bool { return func() bool { return true } }

func (a *heapAttachment) Detach() error {
	a.heap.mu.Lock()
	defer a.heap.mu.Unlock()
	if !a.detached {
		a.detached = true
		a.segment.attached--
		a.heap.drop(a.segment)
	}
	return nil
}
