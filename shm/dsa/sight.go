package dsa

import (
	"fmt"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/shm"
)

// Sight looks at the objects of an area without attaching it: it takes no lock and no place among the sessions, and
// works while all of these are stopped. What it reads may be freed or written at any time, even while it is read, so
// its caller checks everything. It writes nothing. It is for one goroutine.
type Sight struct {
	views
	segment func(handle uint64) ([]byte, error)
	// seen are, by row, the segments that were asked for so far.
	seen map[int]seen
}

// seen is a segment as it was when its bytes were asked for. With another life or handle in the row they are another's.
type seen struct {
	life   int
	handle uint64
	bytes  []byte
}

// Look makes a Sight of the area whose first segment is that of the handle. Segment returns the bytes of a segment by
// its handle, in place, for reading; they stay as long as the Sight is used. An error of it comes through. A segment
// that begins with no area is ErrCorrupt, an area of another layout version ErrVersion.
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
	if s.views, err = viewsOf(r, 0); err != nil {
		return nil, err
	}
	_, life := rowOf(s.rows[0].word.Load())
	s.seen[0] = seen{life, s.rows[0].handle.Load(), b}
	return s, nil
}

// Peek returns the n bytes that begin at p, in place. It does not ask whether there is an object. A pointer into a
// segment that is not there, or has another life, and bytes that reach beyond the segment's end are ErrPointer. A
// segment that is used for the first time may take as long as the function that Look was given; its error comes
// through.
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

// Segments returns the handles of the area's segments, the first one among them, in no order. What the area's header says at
// this moment is what it returns: a garbled one may name segments that are not the area's, or that there are not.
func (s *Sight) Segments() (list []uint64) {
	for i := range s.rows {
		if state, _ := rowOf(s.rows[i].word.Load()); state == rowLive {
			list = append(list, s.rows[i].handle.Load())
		}
	}
	return list
}
