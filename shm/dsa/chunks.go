package dsa

import (
	"context"
	"math"
	"math/bits"

	"github.com/godsm/godsm/internal/failpoint"
)

// What is here runs under the area's lock, and changes which chunks are in use and which spans are in a list. The heads
// of runs are the truth: a run exists if the span of its first chunk has a state that says so, and that span has the
// run's length. Bitmap, counts and lists follow from the heads. So a process that dies in any of these functions leaves
// derived values that are wrong, and the lock as a dead holder leaves it; the session that takes the lock next derives
// them anew.

// findRun finds n free chunks in a row, and returns the first; low is a chunk before which none is free. It trusts the
// bitmap for speed, and returns no place outside the segment, whatever the bitmap says. The caller holds the area's
// lock.
func (m *mapping) findRun(low uint32, n int) (at int, ok bool) {
	run := 0
	for i := int(min(low, uint32(m.chunks))); i < m.chunks; {
		w := m.bits[i>>6].Load() >> (i & 63)
		left := 64 - i&63
		if z := min(bits.TrailingZeros64(w), left); z > 0 {
			run += z
			i += z
			if run >= n {
				// The bits beyond the last chunk are 1. If a stray store has cleared them, the run may reach beyond it.
				return i - run, i-run+n <= m.chunks
			}
			continue
		}
		run = 0
		i += min(bits.TrailingZeros64(^w), left)
	}
	return 0, false
}

// setBits marks n chunks as used, or as free. The caller holds the area's lock, so a load and a store do.
func (m *mapping) setBits(at, n int, used bool) {
	for i := at; i < at+n; {
		k := min(64-i&63, at+n-i)
		mask := ^uint64(0) >> (64 - k) << (i & 63)
		if w := &m.bits[i>>6]; used {
			w.Store(w.Load() | mask)
		} else {
			w.Store(w.Load() &^ mask)
		}
		i += k
	}
}

// makeRunLocked takes n chunks from the first segment that has them; ok is false if none has. Its head is still free:
// the caller fills it in, and stores its state last. Until then a death leaves no run, and the chunks are free once the
// bitmap has been made anew. It may map a segment, which the source may refuse. The caller holds the area's lock.
//
// A row's count of free chunks and its longest run are hints at where a search is worth while: a longest that was found
// to be too large is lowered here. A segment that cannot be mapped because it is garbled or gone is passed over from
// then on, until the next repair.
func (a *Area) makeRunLocked(ctx context.Context, n int) (r spanRef, ok bool, err error) {
	for i := range a.rows {
		row := &a.rows[i]
		if state, _ := rowOf(row.word.Load()); state != rowLive || int(row.free.Load()) < n ||
			int(row.longest.Load()) < n {
			continue
		}
		m, err := a.mapRow(ctx, i)
		if lost(err) {
			row.longest.Store(0)
			continue
		}
		if err != nil {
			return r, false, err
		}
		at, ok := m.findRun(row.low.Load(), n)
		if !ok {
			row.longest.Store(uint32(n - 1))
			continue
		}
		// The bitmap is derived, and can have been hit by a stray store. The states are asked before anything is
		// changed: a run that is in use is never given a second time.
		for k := range n {
			if state := m.spans[at+k].state.Load(); kindOf(state) != kindFree {
				return r, false, corrupt("chunk %d of segment %d is in use, and its bitmap says that it is free", at+k, i)
			}
		}
		m.setBits(at, n, true)
		row.free.Add(^uint32(n - 1))
		if n == 1 {
			row.low.Store(uint32(at + 1))
		}
		failpoint.Hit("dsa/run/taken")
		// The parts come before the head: a process that follows a pointer into the run finds its head from the moment
		// that the head's state says that there is one.
		for k := 1; k < n; k++ {
			part := &m.spans[at+k]
			part.back.Store(uint32(k))
			part.state.Store(moved(part.state.Load(), kindPart, 0))
		}
		failpoint.Hit("dsa/run/parts")
		s := &m.spans[at]
		s.chunks.Store(uint32(n))
		return spanRef{m, at, s}, true, nil
	}
	return r, false, nil
}

// releaseRunLocked gives a run's chunks back. If the segment is empty then, and the area has more empty bytes than it
// is to keep, the segment goes back too. ErrCorrupt means that the run's length or class is invalid, and nothing was
// changed. The caller holds the area's lock, and has unlinked the span.
//
// The head's state is stored first, since it decides. A process that dies after it leaves chunks that say that they are
// inside a run which does not exist; the repair that follows makes them free.
func (a *Area) releaseRunLocked(ctx context.Context, r spanRef) error {
	n := int(r.s.chunks.Load())
	if err := r.m.checkRun(r.chunk, r.s, n); err != nil {
		return err
	}
	r.s.state.Store(moved(r.s.state.Load(), kindFree, 0) + lifeUnit)
	failpoint.Hit("dsa/run/released")
	for k := 1; k < n; k++ {
		part := &r.m.spans[r.chunk+k]
		part.state.Store(moved(part.state.Load(), kindFree, 0))
	}
	failpoint.Hit("dsa/run/scattered")
	r.m.setBits(r.chunk, n, false)
	row := &a.rows[r.m.row]
	row.free.Add(uint32(n))
	row.longest.Store(uint32(r.m.chunks))
	row.low.Store(min(row.low.Load(), uint32(r.chunk)))
	if r.m.row == 0 || int(row.free.Load()) < r.m.chunks || a.emptyBytesLocked() <= a.head.keep.Load() {
		return nil
	}
	_ = a.giveSegmentLocked(ctx, r.m.row) // if its source fails, Verify tries again and reports it
	return nil
}

// linkLocked puts a span at the head of the list of its class. The span's state says already that it belongs there. If
// a neighbour cannot be mapped it returns the error, and the span is in no list: the caller has the lists made anew.
// The caller holds the area's lock.
//
// The span's own words and its neighbour's are stored before the list's head: until the head leads to the span, a walk
// from the head meets the old list.
func (a *Area) linkLocked(r spanRef) error {
	cl, err := r.class()
	if err != nil {
		return err
	}
	head := &a.head.partial[cl.id]
	first := head.Load()
	r.s.prev.Store(0)
	r.s.next.Store(first)
	if first != 0 {
		f, err := a.listedLocked(first)
		if err != nil {
			return err
		}
		f.s.prev.Store(r.ref())
	}
	failpoint.Hit("dsa/list/between")
	head.Store(r.ref())
	return nil
}

// unlinkLocked takes a span out of the list of its class. It finds both neighbours first, since a segment can fail to
// be mapped (the session is closing, or has too many): then nothing has changed. The caller holds the area's lock. A
// process that dies between the two stores has died with the lock, so the lists are made anew.
func (a *Area) unlinkLocked(r spanRef) error {
	cl, err := r.class()
	if err != nil {
		return err
	}
	next, prev := r.s.next.Load(), r.s.prev.Load()
	var n, p spanRef
	if next != 0 {
		if n, err = a.listedLocked(next); err != nil {
			return err
		}
	}
	if prev != 0 {
		if p, err = a.listedLocked(prev); err != nil {
			return err
		}
	}
	if next != 0 {
		n.s.prev.Store(prev)
	}
	failpoint.Hit("dsa/list/half")
	if prev == 0 {
		a.head.partial[cl.id].Store(next)
	} else {
		p.s.next.Store(next)
	}
	return nil
}

// listedLocked returns the span that a word of a list names, and maps its segment if need be. The word comes from
// shared memory. It refuses, with ErrCorrupt, a row that an area cannot have, a chunk behind the segment's last one,
// and a chunk at which no partial span begins: so a list that a stray store has bent leads to no memory that is in use
// otherwise. It does not ask whether the span is of the list's class; see firstLocked. The caller holds the area's
// lock.
func (a *Area) listedLocked(ref uint64) (r spanRef, err error) {
	row, chunk := ref>>32-1, ref&math.MaxUint32
	if row >= maxRows {
		return r, corrupt("a list leads to segment %d", int64(row))
	}
	m, err := a.mapRow(context.Background(), int(row))
	if err != nil {
		return r, err
	}
	if chunk >= uint64(m.chunks) || kindOf(m.spans[chunk].state.Load()) != kindPartial {
		return r, corrupt("a list leads to chunk %d of segment %d, which does not belong there", chunk, row)
	}
	return spanRef{m, int(chunk), &m.spans[chunk]}, nil
}
