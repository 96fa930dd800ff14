package dsa

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/godsm/godsm/shm"
)

// mapping is a segment in this process.
type mapping struct {
	row    int
	tag    Pointer // of row and life
	seg    Segment
	cancel func() bool
	bytes  []byte
	data   uint64 // where the chunks begin
	chunks int
	bits   []atomic.Uint64 // a bit for each chunk: 1 in use. Derived; what is beyond the last chunk is 1
	spans  []span
	at     []atomic.Uint32 // by chunk: the spot of a span that this session has to itself
	stripe []atomic.Uint32 // by chunk: the stripe of what is there, as it was seen last
	gone   bool            // unmapped; under all stripes
	stays  bool            // until Detach: its row says that it went back, which can't be; under all stripes
}

// find locks the stripe of what p leads to, which is the caller's to unlock unless there is an error: the run, the
// class, nil for a large object, and where in the run p is. Nothing is known yet of the object itself. All stripes are
// locked when anything is unmapped.
func (a *Area) find(p Pointer) (r spanRef, rel uint64, cl *class, err error) {
	m := a.maps[p.row()].Load()
	if m == nil || m.tag != p&tagMask {
		return a.findAnew(p)
	}
	rel = p.offset() - m.data
	at := rel >> chunkShift
	if at >= uint64(len(m.stripe)) {
		return a.findAnew(p)
	}
	guess := m.stripe[at].Load()
	st := &a.stripes[guess]
	st.Lock()
	if !a.ends.Ended() && !m.gone {
		s := &m.spans[at]
		c := s.class.Load()
		if kind := kindOf(s.state.Load()); kind >= kindOwned && kind <= kindContested && c < uint32(len(classes)) {
			if cl = &classes[c]; uint32(cl.stripe) == guess && cl.chunks <= m.chunks-int(at) {
				return spanRef{m, int(at), s}, rel & (chunkSize - 1), cl, nil
			}
		}
	}
	st.Unlock()
	return a.findAnew(p)
}

// findAnew is find, for what is not in the first chunk of a span whose class has the stripe that was remembered.
func (a *Area) findAnew(p Pointer) (r spanRef, rel uint64, cl *class, err error) {
	for range maxTries {
		m, at, err := a.chunkOf(p)
		if err != nil {
			return r, 0, nil, a.answer(err)
		}
		guess := m.stripe[at].Load()
		if r, rel, cl, err = a.findUnder(&a.stripes[guess], p, m, at); err != nil {
			return r, 0, nil, a.answer(err)
		}
		is := uint32(stripes - 1)
		if cl != nil {
			is = uint32(cl.stripe)
		}
		if is == guess && r.m != nil {
			return r, rel, cl, nil
		}
		a.stripes[guess].Unlock()
		m.stripe[at].Store(is)
	}
	return r, 0, nil, a.answer(corrupt("what %v leads to changes all the time", p))
}

// findUnder locks a stripe and finds the run that p leads to; none if the segment has been unmapped.
func (a *Area) findUnder(st *stripe, p Pointer, m *mapping, at int) (r spanRef, rel uint64, cl *class, err error) {
	st.Lock()
	if a.ends.Ended() {
		err = errClosed
	} else if !m.gone {
		r, rel, cl, err = m.lead(p, at)
	}
	if err != nil {
		st.Unlock()
	}
	return r, rel, cl, err
}

// chunkOf returns the chunk that p points into, of a segment that is mapped.
func (a *Area) chunkOf(p Pointer) (m *mapping, at int, err error) {
	if m = a.maps[p.row()].Load(); m == nil || m.tag != p&tagMask {
		if m, err = a.remap(p); err != nil {
			return nil, 0, err
		}
	}
	if at := (p.offset() - m.data) >> chunkShift; at < uint64(len(m.stripe)) {
		return m, int(at), nil
	}
	return nil, 0, notAllocated(p)
}

// lead follows p from its chunk to the head of its run: the class of that, nil for a large object, and where in it p
// is.
func (m *mapping) lead(p Pointer, at int) (r spanRef, rel uint64, cl *class, err error) {
	chunk := at
	s := &m.spans[chunk]
	state := s.state.Load()
	if kindOf(state) == kindPart {
		back := int(s.back.Load())
		if back < 1 || back > chunk {
			return r, 0, nil, corrupt("chunk %d of segment %d is %d behind its head", chunk, m.row, back)
		}
		chunk -= back
		s = &m.spans[chunk]
		state = s.state.Load()
	}
	rel = p.offset() - m.data - uint64(chunk)<<chunkShift
	r = spanRef{m, chunk, s}
	switch kindOf(state) {
	case kindOwned, kindFull, kindPartial, kindContested:
		cl, err = r.class()
		return r, rel, cl, err
	case kindLarge:
		return r, rel, nil, nil
	}
	return r, 0, nil, notAllocated(p)
}

// notAllocated is the error for a pointer.
type notAllocated Pointer

func (p notAllocated) Error() string {
	return fmt.Sprintf("dsa: pointer %v: %v", Pointer(p), ErrPointer)
}

func (p notAllocated) Unwrap() error { return ErrPointer }

// remap unmaps what has gone back and maps what p points into. The caller has no stripe.
func (a *Area) remap(p Pointer) (m *mapping, err error) {
	err = a.contained(func() error {
		if a.ends.Ended() {
			return errClosed
		}
		if err := a.sweep(); err != nil {
			return err
		}
		return a.striped(func() error {
			m, err = a.mapFor(p)
			return err
		})
	})
	return m, a.answer(err)
}

func (a *Area) mapFor(p Pointer) (*mapping, error) {
	row := p.row()
	if a.ends.Ended() {
		return nil, errClosed
	}
	if state, life := rowOf(a.rows[row].word.Load()); state != rowLive || tagOf(row, life) != p&tagMask {
		return nil, notAllocated(p)
	}
	m, err := a.mapRow(context.Background(), row)
	if errors.Is(err, ErrNotFound) {
		return nil, errors.Join(notAllocated(p), err)
	}
	return m, err
}

// mapRow returns the mapping of a live row's segment.
func (a *Area) mapRow(ctx context.Context, i int) (*mapping, error) {
	state, life := rowOf(a.rows[i].word.Load())
	m := a.maps[i].Load()
	if m != nil && m.tag == tagOf(i, life) {
		return m, nil
	}
	a.mapMu.Lock()
	defer a.mapMu.Unlock()
	if m = a.maps[i].Load(); m != nil && m.tag == tagOf(i, life) {
		return m, nil
	}
	if state != rowLive || a.source == nil || i == 0 {
		return nil, corrupt("segment %d, in state %d, is to be mapped", i, state)
	}
	seg, err := a.source.Attach(ctx, a.rows[i].handle.Load())
	if err != nil {
		return nil, fmt.Errorf("dsa: map segment %d: %w", i, err)
	}
	var next *mapping
	err = seg.With(func(b []byte) error {
		if next, err = a.check(b, seg, i, life); err == nil {
			err = a.installLocked(next)
		}
		return err
	})
	if err != nil {
		return nil, errors.Join(err, seg.Detach())
	}
	return next, nil
}

// installLocked makes a mapping the area's, under mapMu, in place of one that is stale. From here on the
// area is detached before the segment is; one that somebody has just detached is refused. The
// caller runs in With, so the bytes are there in any case.
func (a *Area) installLocked(m *mapping) error {
	var second atomic.Bool
	m.cancel = m.seg.OnDetach(func() {
		if second.Swap(true) {
			_ = a.Detach()
		}
	})
	if second.Swap(true) {
		return errClosed
	}
	if old := a.maps[m.row].Swap(m); old != nil && old != m {
		a.stale = append(a.stale, old)
	}
	return nil
}

// installFirst installs the segment with the header, when the session has joined: so it can leave.
func (a *Area) installFirst(m *mapping) error {
	a.mapMu.Lock()
	defer a.mapMu.Unlock()
	if a.ends.Ended() {
		return errClosed
	}
	return a.installLocked(m)
}

// check makes a mapping of a segment that somebody has formatted, after a look at its header.
func (a *Area) check(b []byte, seg Segment, row, life int) (*mapping, error) {
	start := uint64(0)
	if row == 0 {
		start = firstSegment(len(a.slots))
	}
	h, err := shm.At[segment](shm.NewRegion(b), shm.Offset(start))
	if err != nil {
		return nil, err
	}
	chunks := h.chunks.Load()
	if h.magic.Load() != magic || h.area.Load() != a.head.id.Load() || int(h.row.Load()) != row ||
		int(h.life.Load()) != life || life == 0 ||
		chunks == 0 || chunks != a.rows[row].chunks.Load() || uint64(chunks) > maxSegment/chunkSize {
		return nil, corrupt("segment %d has no header of this area", row)
	}
	return newMapping(b, seg, geometryOf(start, int(chunks)), row, life)
}

func newMapping(b []byte, seg Segment, g geometry, row, life int) (*mapping, error) {
	if g.size > uint64(len(b)) || g.size > maxSegment || misaligned(b, 16) {
		return nil, corrupt("segment %d of %d bytes, or its place, does not fit %d chunks", row, len(b), g.chunks)
	}
	r := shm.NewRegion(b)
	m := &mapping{
		row: row, tag: tagOf(row, life), seg: seg, cancel: func() bool { return false },
		bytes: b, data: g.data, chunks: g.chunks, at: make([]atomic.Uint32, g.chunks), stripe: make([]atomic.Uint32, g.chunks),
	}
	var err error
	if m.bits, err = shm.SliceOf[atomic.Uint64](r, shm.Offset(g.bitmap), wordsFor(g.chunks)); err != nil {
		return nil, err
	}
	m.spans, err = shm.SliceOf[span](r, shm.Offset(g.spans), g.chunks)
	return m, err
}

// format writes a new segment's header.
func (a *Area) format(b []byte, seg Segment, g geometry, row, life int) (*mapping, error) {
	m, err := newMapping(b, seg, g, row, life)
	if err != nil {
		return nil, err
	}
	h, err := shm.At[segment](shm.NewRegion(m.bytes), shm.Offset(g.segment))
	if err != nil {
		return nil, err
	}
	h.area.Store(a.head.id.Load())
	h.row.Store(uint32(row))
	h.life.Store(uint32(life))
	h.chunks.Store(uint32(g.chunks))
	m.clearBits()
	h.magic.Store(magic)
	return m, nil
}

// clearBits makes all chunks free.
func (m *mapping) clearBits() {
	for i := range m.bits {
		m.bits[i].Store(0)
	}
	if tail := m.chunks & 63; tail != 0 {
		m.bits[len(m.bits)-1].Store(^uint64(0) << tail)
	}
}

// sweep unmaps the segments that went back, under all stripes, which it takes: their objects are gone, and no call of
// this package uses one. What this session has a span in did not go back, whatever its row says: it stays mapped.
func (a *Area) sweep() error {
	a.lockStripes()
	defer a.unlockStripes()
	if a.ends.Ended() {
		return errClosed
	}
	now := a.head.returned.Load()
	if now == a.seen.Load() {
		return nil
	}
	return unmap(a.strays(now))
}

func (a *Area) strays(now uint64) (list []*mapping) {
	a.mapMu.Lock()
	defer a.mapMu.Unlock()
	mine := a.inHeaps()
	a.stale = slices.DeleteFunc(a.stale, func(m *mapping) bool {
		if m.stays = m.stays || mine[m]; !m.stays {
			list = append(list, m)
		}
		return !m.stays
	})
	for i := 1; i < maxRows; i++ {
		m := a.maps[i].Load()
		if m == nil || m.stays {
			continue
		}
		if state, life := rowOf(a.rows[i].word.Load()); state == rowLive && m.tag == tagOf(i, life) {
			continue
		}
		if mine[m] {
			m.stays = true
			continue
		}
		a.maps[i].Store(nil)
		list = append(list, m)
	}
	a.seen.Store(now)
	if a.slot >= 0 {
		a.slots[a.slot].seen.Store(uint32(now))
	}
	return list
}

// unmap runs under all stripes.
func unmap(list []*mapping) error {
	var errs []error
	for _, m := range list {
		m.gone = true
		m.cancel()
		errs = append(errs, m.seg.Detach())
	}
	return errors.Join(errs...)
}

// unmapAll is for Detach, under all stripes: the segment with the header is last. While there are leases of the
// area's view, what is detached keeps its bytes.
func (a *Area) unmapAll() error {
	a.mapMu.Lock()
	list := a.stale
	a.stale = nil
	for i := maxRows - 1; i >= 0; i-- {
		if m := a.maps[i].Swap(nil); m != nil {
			list = append(list, m)
		}
	}
	a.mapMu.Unlock()
	for _, m := range list {
		if lease, ok := m.seg.View().Hold(); ok {
			defer a.ends.Drain(lease.Leave)
		}
	}
	return unmap(list)
}
