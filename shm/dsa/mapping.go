package dsa

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/godsm/godsm/shm"
)

// This file holds a segment as this process has it mapped, and how a segment becomes mapped: by the session that makes
// it (formatSegment), or the first time that another session needs it (mapRow). Mappings end in unmap.go. A mapping says
// nothing about who may use which chunk; it is the bytes, their shape, and what this process remembers of them.

// mapping is a segment in this process. A field without a comment about locks is written before the mapping is in
// Area.maps, and never again.
type mapping struct {
	row int
	// tag has the row, and the life of the row that this segment has. A pointer with another tag leads to another
	// segment.
	tag Pointer
	seg Segment
	// cancel takes back the hook by which the segment's end detaches the area. It is written under mapMu.
	cancel func() bool
	bytes  []byte
	// data is where the chunks begin, in bytes from the segment's start.
	data   uint64
	chunks int
	// bits is the bitmap, in shared memory, under the area's lock: a bit for each chunk, 1 for one in use. It is
	// derived from the spans. Bits beyond the last chunk are 1.
	bits []atomic.Uint64
	// spans are the descriptions of the chunks, in shared memory.
	spans []span
	// at is, by chunk, where the session's heap has a span that it has to itself; see spot. It is written under the
	// stripe of the span's class.
	at []atomic.Uint32
	// stripe is, by chunk, the stripe of what is there, as this process saw it last: a guess, written and read without
	// a lock. It is below the number of stripes.
	stripe []atomic.Uint32
	// gone is true once the segment has been unmapped. It is written under all stripes, and read under one.
	gone bool
	// stays is true if the segment stays mapped until Detach, since its row says that it went back while this session
	// has a span in it: the row is wrong then. It is written under all stripes, and Verify reports it.
	stays bool
}

// remap unmaps what has gone back and maps what p points into. The caller has no stripe. What it returns may be
// unmapped by another goroutine before the caller has a stripe: so the caller asks m.gone then.
func (a *Area) remap(p Pointer) (m *mapping, err error) {
	err = a.contained(func() error {
		if a.ends.Ended() {
			return errClosed
		}
		if err := a.unmapReturned(); err != nil {
			return err
		}
		return a.withStripe(func() error {
			m, err = a.mapFor(p)
			return err
		})
	})
	return m, a.orClosed(err)
}

// mapFor maps the segment that p points into, if the row has p's life. A segment that is not there is ErrPointer: it
// goes back at any moment, also between the look at its row and the source's Attach. The caller has the last stripe.
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

// mapRow returns the mapping of a live row's segment, and maps it if this process has not. The caller has a stripe, or
// the area's lock. It takes mapMu while the source attaches the segment, so two goroutines do not attach it twice; ctx
// bounds that as far as the source obeys it.
//
// A segment that is gone is ErrNotFound. ErrCorrupt are: a row that is not live; row 0 of another life, since the first
// segment is mapped as long as the area is open; a row of an area without a source; and a segment whose header does not
// fit its row. After the end of the owner or the session the source returns ErrClosed.
//
// The bytes are lent by the source's With until the hook is set: if the segment is detached in between, installLocked
// refuses, and nothing has been read from bytes that are gone.
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
		if next, err = a.checkedMapping(b, seg, i, life); err == nil {
			err = a.installLocked(next)
		}
		return err
	})
	if err != nil {
		return nil, errors.Join(err, seg.Detach())
	}
	return next, nil
}

// installLocked makes a mapping the area's, in place of one of an earlier life, which is unmapped later. From here on
// the area is detached before the segment is. A segment that was detached just now is refused, with ErrClosed. The
// caller holds mapMu, and runs in With, so the bytes are there in any case.
//
// OnDetach may call the hook at once, or from another goroutine, before it has returned. The flag has the later of the
// two, the hook and this function, act: if the hook comes first, the mapping is refused, and the area need not be
// detached.
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

// installFirst installs the segment with the header. It comes after the session has joined, since the hook that it sets
// detaches the area, and only a session that has joined can leave. The caller runs in With.
func (a *Area) installFirst(m *mapping) error {
	a.mapMu.Lock()
	defer a.mapMu.Unlock()
	if a.ends.Ended() {
		return errClosed
	}
	return a.installLocked(m)
}

// checkedMapping makes a mapping of a segment that some session has formatted, if its header fits the row. It refuses,
// with ErrCorrupt, a handle in the row that leads to a segment of another program or area, or of another row; one of
// an earlier or later life of the row; and a number of chunks that differs from the row's, or does not fit into the
// bytes. So no window is made that reaches beyond the segment.
func (a *Area) checkedMapping(b []byte, seg Segment, row, life int) (*mapping, error) {
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

// newMapping makes a mapping of bytes with that geometry. It refuses, with ErrCorrupt, bytes that are too few for it,
// or that do not begin at a multiple of 16. It reads no shared byte.
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

// clearBits makes all chunks free, and marks the bits beyond the last chunk as used, so that no run is found there. The
// caller holds the area's lock, or is the only one that knows the segment.
func (m *mapping) clearBits() {
	for i := range m.bits {
		m.bits[i].Store(0)
	}
	if tail := m.chunks & 63; tail != 0 {
		m.bits[len(m.bits)-1].Store(^uint64(0) << tail)
	}
}
