package dsa

import (
	"fmt"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/shm"
)

// Sight looks at the objects of an area without attaching it: it takes no lock and no place among the sessions, and works
// while all of these are stopped. What it reads may be freed or written at any time, even while it is read, so who uses it
// checks everything. It is for one goroutine.
type Sight struct {
	views
	segment func(handle uint64) ([]byte, error)
	seen    map[int]seen
}

type seen struct {
	life   int
	handle uint64
	bytes  []byte
}

// Look makes a Sight of the area whose first segment is that of the handle. Segment returns the bytes of a segment by its
// handle, in place, for reading; they stay as long as the Sight is used.
func Look(handle uint64, segment func(handle uint64) ([]byte, error)) (*Sight, error) {
	b, err := segment(handle)
	if err != nil {
		return nil, fmt.Errorf("dsa: look at an area: %w", err)
	}
	r := shm.NewRegion(b)
	h, err := shm.At[header](r, 0)
	switch {
	case err != nil:
		return nil, err
	case h.magic.Load() != magic:
		return nil, corrupt("the segment begins with %#x and not with an area", h.magic.Load())
	case h.version.Load() != version:
		return nil, errkind.OtherVersion("dsa: the area", uint64(h.version.Load()), version, "the processes that have it attached")
	}
	s := &Sight{segment: segment, seen: map[int]seen{}}
	if s.views, err = view(r, 0); err != nil {
		return nil, err
	}
	_, life := rowOf(s.rows[0].word.Load())
	s.seen[0] = seen{life, s.rows[0].handle.Load(), b}
	return s, nil
}

// Peek returns the n bytes that begin at p, in place. It does not ask whether there is an object. A pointer that leads
// nowhere is ErrPointer.
func (s *Sight) Peek(p Pointer, n int) ([]byte, error) {
	if s.head == nil {
		return nil, fmt.Errorf("dsa: peek at %v: %w", p, ErrPointer)
	}
	state, life := rowOf(s.rows[p.row()].word.Load())
	if p == 0 || state != rowLive || life != p.life() {
		return nil, fmt.Errorf("dsa: peek at %v: %w", p, ErrPointer)
	}
	x, ok := s.seen[p.row()]
	if handle := s.rows[p.row()].handle.Load(); !ok || x.life != life || x.handle != handle {
		b, err := s.segment(handle)
		if err != nil {
			return nil, fmt.Errorf("dsa: peek at %v: %w", p, err)
		}
		x = seen{life, handle, b}
		s.seen[p.row()] = x
	}
	if off := p.offset(); n >= 0 && off <= uint64(len(x.bytes)) && uint64(n) <= uint64(len(x.bytes))-off {
		return x.bytes[off : off+uint64(n) : off+uint64(n)], nil
	}
	return nil, fmt.Errorf("dsa: peek at %d bytes at %v: %w", n, p, ErrPointer)
}
