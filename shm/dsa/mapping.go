package dsa

import (
	"context"
	"errors"
	"fmt"
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
