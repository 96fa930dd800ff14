package dsa

import (
	"context"
	"errors"
	"fmt"
)

// This file checks an area: that what is derived follows from the runs, that each list has the spans that belong there,
// and in checked mode that no guard bytes were written over. It tells what is wrong and repairs none of it, except
// what any session would repair: what a death has left.

// Report is what Verify found.
type Report struct {
	// Stats are those after the recovery.
	Stats
	// Dead is how many sessions had died, and have been recovered.
	Dead int
	// Lost is how many objects were in the hands of those, and were freed.
	Lost int
	// Problems has a line for people for each thing that is wrong and was not repaired; none means that all is well.
	Problems []string
}

// Verify walks everything: it gives back what dead sessions had in their hands or to themselves, puts spans and
// segments where they belong that a death has left elsewhere, and reports what is wrong. Sessions may use the area at
// the same time; one that needs a new span or segment waits, since Verify holds the area's lock. It waits for that for
// at most 10 seconds, or until ctx ends. What is wrong with the area is in the Report; an error means that Verify could
// not finish.
func (a *Area) Verify(ctx context.Context) (rep Report, err error) {
	err = a.withStripeAndLock(ctx, func() error {
		before := a.reclaimed
		if rep.Dead, err = a.recoverDeadLocked(ctx); err != nil {
			return err
		}
		rep.Lost = a.reclaimed - before
		if err := errors.Join(a.relistAllSharedLocked(ctx), a.takeIdleSpansLocked(ctx, false)); err != nil {
			return err
		}
		v := verifier{area: a}
		if err := v.segmentsLocked(ctx); err != nil {
			return err
		}
		v.listsLocked()
		rep.Problems = v.problems
		rep.Stats, err = a.countLocked(ctx)
		if total := int64(a.head.total.Load()); err == nil && total != rep.Total {
			rep.Problems = append(rep.Problems, fmt.Sprintf("the header counts %d bytes in segments that have %d",
				total, rep.Total))
		}
		return err
	})
	if err != nil {
		return Report{}, err
	}
	return rep, nil
}

// verifier collects what Verify finds. It lives as long as the area's lock is held.
type verifier struct {
	area     *Area
	problems []string
	// partial is, by class, how many spans belong in the list.
	partial [maxClasses]int
}

// addProblem adds a problem.
func (v *verifier) addProblem(format string, args ...any) {
	v.problems = append(v.problems, fmt.Sprintf(format, args...))
}

// segmentsLocked looks at all segments, and gives those back that a death has left on their way. It returns an error
// only if the owner or the session has ended: then nothing more can be mapped, and nothing is known of the rest. The
// caller holds the area's lock.
func (v *verifier) segmentsLocked(ctx context.Context) error {
	a := v.area
	for i := range a.rows {
		switch state, _ := rowOf(a.rows[i].word.Load()); state {
		case rowLive:
			m, err := a.mapRow(ctx, i)
			if err == nil {
				err = v.segmentLocked(m)
			}
			if errors.Is(err, ErrClosed) {
				return err
			}
			if err != nil {
				v.addProblem("segment %d: %v", i, err)
			}
		case rowComing, rowGoing:
			err := a.returnSegmentLocked(ctx, i)
			if errors.Is(err, ErrClosed) {
				return err
			}
			if err != nil {
				v.addProblem("segment %d is not to be given back: %v", i, err)
			}
		}
		if m := a.maps[i].Load(); m != nil && m.stays {
			v.addProblem("segment %d: its row says that it went back, and a session has a span in it", i)
		}
	}
	return nil
}

// segmentLocked compares what is derived in a segment, the marks of chunks inside runs, the bitmap, and the row's
// count, with its runs. A run that is garbled is its error. The caller holds the area's lock.
func (v *verifier) segmentLocked(m *mapping) error {
	used := make([]bool, m.chunks)
	free := m.chunks
	err := m.walkRuns(func(r spanRef, n int) error {
		free -= n
		for k := range n {
			used[r.chunk+k] = true
			part := &m.spans[r.chunk+k]
			if k > 0 && (stateKind(part.state.Load()) != kindPart || int(part.back.Load()) != k) {
				v.addProblem("segment %d: chunk %d is not marked as part of the run at %d", m.row, r.chunk+k, r.chunk)
			}
		}
		v.runLocked(r, n)
		return nil
	}, func(*span) {})
	if err != nil {
		return err
	}
	for c, is := range used {
		if m.bits[c>>6].Load()>>(c&63)&1 == 1 != is {
			v.addProblem("segment %d: chunk %d is in use: %v, its bitmap says the contrary", m.row, c, is)
		}
	}
	if n := int(v.area.rows[m.row].free.Load()); n != free {
		v.addProblem("segment %d: %d chunks are free, and its row counts %d", m.row, free, n)
	}
	return nil
}

// runLocked checks a span, or a large object, of n chunks. The caller holds the area's lock.
func (v *verifier) runLocked(r spanRef, n int) {
	a, state := v.area, r.s.state.Load()
	if stateKind(state) == kindLarge {
		if a.guard != 0 {
			if size, err := readGuardBytes(r.run(uint64(n) << chunkShift)); err != nil || size != r.s.size.Load() {
				v.addProblem("segment %d: the object at %v was written past its end", r.m.row, r.m.tag|Pointer(r.start()>>4))
			}
		}
		return
	}
	cl, err := r.class()
	if err != nil {
		v.addProblem("%v", err)
		return
	}
	if r.s.words[cl.words-1].used.Load()&cl.last != cl.last {
		v.addProblem("segment %d: the bitmap of span %d is garbled", r.m.row, r.chunk)
	}
	if a.guard != 0 {
		v.guardBytesLocked(r, cl)
	}
	switch stateKind(state) {
	case kindOwned:
		if slot := int(state&slotMask) - 1; slot < 0 || slot >= len(a.slots) || a.slots[slot].peer.Load() == 0 {
			v.addProblem("segment %d: span %d is a session's that is not there", r.m.row, r.chunk)
		}
	case kindPartial:
		v.partial[cl.id]++
	}
}

// guardBytesLocked checks the guard bytes of each object of a span. An object that a session allocates or frees at
// that moment may have some of them written, so they are checked up to a thousand times, as long as the object is
// allocated. The caller holds the area's lock.
func (v *verifier) guardBytesLocked(r spanRef, cl *class) {
	for i := range cl.objects {
		block, off := r.block(cl, i), r.start()+uint64(i)*cl.size
		for try := 0; r.s.allocated(i); try++ {
			if _, err := readGuardBytes(block); err == nil {
				break
			}
			if try == 1000 {
				v.addProblem("segment %d: the object at %v was written past its end", r.m.row, r.m.tag|Pointer(off>>4))
				break
			}
		}
	}
}

// listsLocked follows the list of each class, and compares it with the spans that segmentsLocked has found. A list that
// is longer than they are many leads in a circle, or to a span twice, and is not followed further. The caller holds the
// area's lock.
func (v *verifier) listsLocked() {
	a := v.area
	for id := range classes {
		n, prev := 0, uint64(0)
		for ref := a.head.partial[id].Load(); ref != 0; {
			r, err := a.listedSpanLocked(ref)
			if err != nil || int(r.s.class.Load()) != id || r.s.prev.Load() != prev || n > v.partial[id] {
				v.addProblem("the list of spans of %d bytes is garbled (%v)", classes[id].size, err)
				break
			}
			n++
			prev, ref = ref, r.s.next.Load()
		}
		if n < v.partial[id] {
			v.addProblem("%d spans of %d bytes have room, and %d are in the list", v.partial[id], classes[id].size, n)
		}
	}
}
