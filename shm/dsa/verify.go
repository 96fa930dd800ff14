package dsa

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"

	"github.com/godsm/godsm/internal/bytesize"
)

// Stats are an area's bytes and objects: Total is exactly Used, Free and Overhead together.
// Others allocate and free meanwhile, so the numbers are of no one moment, unless they don't.
type Stats struct {
	Total    int64 // of all segments
	Limit    int64 // 0: none
	Used     int64 // in blocks that are allocated: the sizes asked for, rounded up to blocks
	Free     int64 // in chunks and blocks that are not
	Overhead int64 // headers, spans' descriptions, what is left at a span's end and of a large object's last chunk
	Segments int
	Sessions int
	Pinned   bool
	Objects  int

	// Stragglers are objects that stay in spans in which at most a quarter is allocated. They keep Straggling bytes of
	// free blocks there from objects of other sizes, and from the system.
	Stragglers int
	Straggling int64

	Large   ClassStats   // objects with chunks of their own; its Size is 0
	Classes []ClassStats // those that have spans
}

// ClassStats are those of a block size.
type ClassStats struct {
	Size     int // of a block
	Objects  int
	Spans    int
	Kept     int // of those, sessions have to themselves
	Used     int64
	Free     int64
	Overhead int64
}

// Stats walks the area and counts. Nobody waits for it but who needs a new span or segment.
func (a *Area) Stats(ctx context.Context) (st Stats, err error) {
	err = a.lockAndCall(ctx, func() error {
		st, err = a.countLocked(ctx)
		return err
	})
	if err != nil {
		return Stats{}, err
	}
	return st, nil
}

// countLocked returns the Stats. The caller holds the area's lock.
func (a *Area) countLocked(ctx context.Context) (st Stats, err error) {
	by := make([]ClassStats, len(classes))
	err = a.eachRunLocked(ctx, func(r spanRef, n int) error {
		bytes := int64(n) << chunkShift
		st.Free -= bytes
		if kindOf(r.s.state.Load()) == kindLarge {
			size := int64(r.s.size.Load())
			st.Large.add(1, size, 0, bytes)
			return nil
		}
		cl, err := r.class()
		if err != nil {
			return err
		}
		objects := 0
		for w := range cl.words {
			objects += ones(r.s.inWord(cl, w))
		}
		c := &by[cl.id]
		c.Size = int(cl.size)
		c.add(objects, int64(objects)*int64(cl.size), int64(cl.objects-objects)*int64(cl.size), bytes)
		if kindOf(r.s.state.Load()) == kindOwned {
			c.Kept++
		}
		if objects > 0 && objects <= cl.objects/4 {
			st.Stragglers += objects
			st.Straggling += int64(cl.objects-objects) * int64(cl.size)
		}
		return nil
	})
	for i := range a.rows {
		if state, _ := rowOf(a.rows[i].word.Load()); state == rowLive {
			st.Segments++
			st.Free += int64(a.rows[i].chunks.Load()) << chunkShift
			st.Total += int64(a.sizeOf(i))
		}
	}
	st.Overhead = st.Total
	for _, c := range append(by, st.Large) {
		st.Used += c.Used
		st.Free += c.Free
		st.Objects += c.Objects
	}
	st.Overhead -= st.Used + st.Free
	st.Classes = slices.DeleteFunc(by, func(c ClassStats) bool { return c.Spans == 0 })
	for i := range a.slots {
		if a.slots[i].peer.Load() != 0 {
			st.Sessions++
		}
	}
	st.Limit, st.Pinned = int64(a.head.limit.Load()), a.head.pinned.Load() != 0
	return st, err
}

func (c *ClassStats) add(objects int, used, free, all int64) {
	c.Spans++
	c.Objects += objects
	c.Used += used
	c.Free += free
	c.Overhead += all - used - free
}

// Dump writes Stats and the segments for people.
func (a *Area) Dump(ctx context.Context, w io.Writer) error {
	st, err := a.Stats(ctx)
	if err != nil {
		return err
	}
	size := func(n int64) string { return bytesize.Format(uint64(max(n, 0))) }
	fmt.Fprintf(w, "%s in %d segments: %s used by %d objects, %s free, %s overhead; %d sessions",
		size(st.Total), st.Segments, size(st.Used), st.Objects, size(st.Free), size(st.Overhead), st.Sessions)
	if st.Stragglers > 0 {
		fmt.Fprintf(w, "; %d stragglers hold %s of what is free", st.Stragglers, size(st.Straggling))
	}
	if st.Limit > 0 {
		fmt.Fprintf(w, "; limit %s", size(st.Limit))
	}
	if st.Pinned {
		fmt.Fprint(w, "; pinned")
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(t, "\n\nBLOCK\tOBJECTS\tSPANS\tKEPT\tUSED\tFREE\tOVERHEAD\t\n")
	for _, c := range st.Classes {
		fmt.Fprintf(t, "%d\t%d\t%d\t%d\t%s\t%s\t%s\t\n", c.Size, c.Objects, c.Spans, c.Kept, size(c.Used),
			size(c.Free), size(c.Overhead))
	}
	fmt.Fprintf(t, "large\t%d\t%d\t\t%s\t\t%s\t\n", st.Large.Objects, st.Large.Spans, size(st.Large.Used),
		size(st.Large.Overhead))
	fmt.Fprint(t, "\nSEGMENT\tHANDLE\tCHUNKS\tFREE\t\n")
	for i := range a.rows {
		if state, life := rowOf(a.rows[i].word.Load()); state == rowLive {
			fmt.Fprintf(t, "%d.%d\t%x\t%d\t%d\t\n", i, life, a.rows[i].handle.Load(), a.rows[i].chunks.Load(),
				a.rows[i].free.Load())
		}
	}
	return t.Flush()
}

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
