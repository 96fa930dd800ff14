package dsa

import (
	"context"
	"errors"
	"fmt"
)

// Report is what Verify found.
type Report struct {
	Stats
	Dead     int      // sessions that had died, and whose spans went back
	Lost     int      // objects that were in the hands of those, and were freed
	Problems []string // what is wrong, and not mended
}

// Verify walks everything: it gives back what dead sessions had in their hands or to themselves, and says what is
// wrong. Sessions that use the area meanwhile don't disturb it; only who needs a new span or segment waits for it.
func (a *Area) Verify(ctx context.Context) (rep Report, err error) {
	err = a.lockAndCall(ctx, func() error {
		before := a.reclaimed
		if rep.Dead, err = a.recoverDeadLocked(ctx); err != nil {
			return err
		}
		rep.Lost = a.reclaimed - before
		if err := errors.Join(a.tidyLocked(ctx), a.takeIdleLocked(ctx, false)); err != nil {
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

type verifier struct {
	area     *Area
	problems []string
	partial  [maxClasses]int // spans that belong in a list
}

func (v *verifier) say(format string, args ...any) {
	v.problems = append(v.problems, fmt.Sprintf(format, args...))
}

// segmentsLocked looks at all segments. Its error is that the owner or the session has ended: then nothing is known of the rest.
// The caller holds the area's lock.
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
				v.say("segment %d: %v", i, err)
			}
		case rowComing, rowGoing:
			err := a.giveSegmentLocked(ctx, i)
			if errors.Is(err, ErrClosed) {
				return err
			}
			if err != nil {
				v.say("segment %d is not to be given back: %v", i, err)
			}
		}
		if m := a.maps[i].Load(); m != nil && m.stays {
			v.say("segment %d: its row says that it went back, and a session has a span in it", i)
		}
	}
	return nil
}

// segmentLocked compares what is derived in a segment with its runs. The caller holds the area's lock.
func (v *verifier) segmentLocked(m *mapping) error {
	used := make([]bool, m.chunks)
	free := m.chunks
	err := m.walk(func(r spanRef, n int) error {
		free -= n
		for k := range n {
			used[r.chunk+k] = true
			part := &m.spans[r.chunk+k]
			if k > 0 && (kindOf(part.state.Load()) != kindPart || int(part.back.Load()) != k) {
				v.say("segment %d: chunk %d is not marked as part of the run at %d", m.row, r.chunk+k, r.chunk)
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
			v.say("segment %d: chunk %d is in use: %v, its bitmap says the contrary", m.row, c, is)
		}
	}
	if n := int(v.area.rows[m.row].free.Load()); n != free {
		v.say("segment %d: %d chunks are free, and its row counts %d", m.row, free, n)
	}
	return nil
}

// runLocked looks at a span, or a large object. The caller holds the area's lock.
func (v *verifier) runLocked(r spanRef, n int) {
	a, state := v.area, r.s.state.Load()
	if kindOf(state) == kindLarge {
		if a.guard != 0 {
			if size, err := sealed(r.run(uint64(n) << chunkShift)); err != nil || size != r.s.size.Load() {
				v.say("segment %d: the object at %v was written past its end", r.m.row, r.m.tag|Pointer(r.start()>>4))
			}
		}
		return
	}
	cl, err := r.class()
	if err != nil {
		v.say("%v", err)
		return
	}
	if r.s.words[cl.words-1].used.Load()&cl.last != cl.last {
		v.say("segment %d: the bitmap of span %d is garbled", r.m.row, r.chunk)
	}
	if a.guard != 0 {
		v.fencesLocked(r, cl)
	}
	switch kindOf(state) {
	case kindOwned:
		if slot := int(state&slotMask) - 1; slot < 0 || slot >= len(a.slots) || a.slots[slot].peer.Load() == 0 {
			v.say("segment %d: span %d is a session's that is not there", r.m.row, r.chunk)
		}
	case kindPartial:
		v.partial[cl.id]++
	}
}

// fencesLocked looks behind every object of a span. One that is being allocated or freed meanwhile may
// have its fence half built: it is looked at again. The caller holds the area's lock.
func (v *verifier) fencesLocked(r spanRef, cl *class) {
	for i := range cl.objects {
		block, off := r.block(cl, i), r.start()+uint64(i)*cl.size
		for try := 0; r.s.allocated(i); try++ {
			if _, err := sealed(block); err == nil {
				break
			}
			if try == 1000 {
				v.say("segment %d: the object at %v was written past its end", r.m.row, r.m.tag|Pointer(off>>4))
				break
			}
		}
	}
}

// listsLocked follows the lists of spans with room. The caller holds the area's lock.
func (v *verifier) listsLocked() {
	a := v.area
	for id := range classes {
		n, prev := 0, uint64(0)
		for ref := a.head.partial[id].Load(); ref != 0; {
			r, err := a.listedLocked(ref)
			if err != nil || int(r.s.class.Load()) != id || r.s.prev.Load() != prev || n > v.partial[id] {
				v.say("the list of spans of %d bytes is garbled (%v)", classes[id].size, err)
				break
			}
			n++
			prev, ref = ref, r.s.next.Load()
		}
		if n < v.partial[id] {
			v.say("%d spans of %d bytes have room, and %d are in the list", v.partial[id], classes[id].size, n)
		}
	}
}
