package dsa

import (
	"context"
	"math/bits"

	"github.com/godsm/godsm/internal/failpoint"
)

// What is here runs under the area's lock. The heads of runs are the truth; bitmap, counts and lists follow from them.

// findRun finds n free chunks in a row.
func (m *mapping) findRun(low uint32, n int) (at int, ok bool) {
	run := 0
	for i := int(min(low, uint32(m.chunks))); i < m.chunks; {
		w := m.bits[i>>6].Load() >> (i & 63)
		left := 64 - i&63
		if z := min(bits.TrailingZeros64(w), left); z > 0 {
			run += z
			i += z
			if run >= n {
				return i - run, i-run+n <= m.chunks
			}
			continue
		}
		run = 0
		i += min(bits.TrailingZeros64(^w), left)
	}
	return 0, false
}

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

// makeRunLocked takes n chunks from the first segment that has them; ok is false if none has. Its head
// is still free: the caller fills it in, and stores its state last. The caller holds the area's lock.
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

// releaseRunLocked gives a run back, and its segment, if that is empty and there are enough of those.
// The caller holds the area's lock.
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
	_ = a.giveSegmentLocked(ctx, r.m.row) // if its source fails, Verify tries again and says so
	return nil
}

// linkLocked puts a span into the list of its class. Its state says that it belongs there; if it fails, it is not in the
// list. The caller holds the area's lock.
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

// unlinkLocked takes a span out of the list of its class. It finds both neighbours first, since a segment can fail to be
// mapped (the session is closing, or has too many): then nothing has changed. The caller holds the area's lock.
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

// listedLocked returns the span that a list speaks of. The caller holds the area's lock.
func (a *Area) listedLocked(ref uint64) (r spanRef, err error) {
	i, chunk := int(ref>>32)-1, int(uint32(ref))
	if i < 0 || i >= maxRows {
		return r, corrupt("a list leads to segment %d", i)
	}
	m, err := a.mapRow(context.Background(), i)
	if err != nil {
		return r, err
	}
	if chunk >= m.chunks || kindOf(m.spans[chunk].state.Load()) != kindPartial {
		return r, corrupt("a list leads to chunk %d of segment %d, which does not belong there", chunk, i)
	}
	return spanRef{m, chunk, &m.spans[chunk]}, nil
}
