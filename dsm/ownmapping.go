package dsm

import (
	"context"
	"runtime"

	"github.com/godsm/godsm/dsmimpl"
	"github.com/godsm/godsm/internal/instance"
)

// ownMapping is a mapping for one Segment alone, and the segment's bytes in it.
type ownMapping struct {
	mapping dsmimpl.Mapping
	part    []byte
}

// ownMapping returns a mapping for one Segment alone: the holding's, if this Segment is the only one that uses it, else
// a new one. Then the holding is without a mapping, and the next Attach makes one for its Segment.
func (s *Session) ownMapping(h *holding) (own ownMapping, err error) {
	s.mu.Lock()
	if h.shared == 1 && h.held.Mapping.Bytes != nil {
		own.mapping, h.held.Mapping = h.held.Mapping, dsmimpl.Mapping{}
		s.mu.Unlock()
		own.part = instance.Part(own.mapping, &h.held.Entry)
		return own, nil
	}
	s.mu.Unlock()
	own.mapping, own.part, err = s.member.Books.MapOwn(context.Background(), h.held.Entry)
	return own, err
}

// withdrawOwnMapping withdraws the mapping that is one attachment's own: after that no store of this process reaches the
// segment through it. Gone reports whether the attachment can be given back. If not, a view of bytes is in use that
// could not be withdrawn, and a cleanup of the view calls releaseKept when it is in use no longer.
func (s *Session) withdrawOwnMapping(a *attachment) (gone bool, err error) {
	g, v, own := a.segment, a.view, a.own
	_, carved := a.holding.held.Entry.Carved()
	switch {
	case own.Bytes == nil: // the bytes are in a mapping that Close withdraws, but other Segments may share it until then
		gone = v == nil || s.state.begun() && s.canReplaceRange()
	case v == nil && !s.state.begun(): // nothing is promised of plain bytes while the session goes on
		gone, err = true, s.member.Books.Unmap(own)
	default:
		var late func(int) error
		if g.trail != nil {
			late = g.trail.errLateUse(g.handle)
		}
		gone, err = s.withdrawMapping(own, carved, a.bytes, v, late)
		gone = gone || !carved // the object is not given to others
	}
	a.own, a.view = dsmimpl.Mapping{}, nil
	if !gone {
		s.mu.Lock()
		a.kept, a.parked, a.claimed = true, false, false
		s.mu.Unlock()
		// The collector must not be held up: the release runs in a goroutine of its own.
		runtime.AddCleanup(v, func(g *Segment) { go func() { g.logErr(s.releaseKept(g.attachment)) }() }, g)
	}
	return gone, err
}
