package dsa

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/godsm/godsm/internal/bytesize"
)

// Stats are an area's bytes and objects: Total is exactly Used, Free and Overhead together.
// Sessions allocate and free in their own spans while these are counted, so the numbers of an area in use are of no one
// moment.
type Stats struct {
	// Total is how many bytes all segments have.
	Total int64
	// Limit is how many they may have; 0 is no limit.
	Limit int64
	// Used is how many bytes are in blocks that are allocated: the sizes asked for, rounded up to blocks.
	Used int64
	// Free is how many bytes are in chunks and blocks that are not.
	Free int64
	// Overhead is the rest: headers, spans' descriptions, what is left at a span's end and of a large object's last
	// chunk.
	Overhead int64
	// Segments, Sessions and Objects are how many there are. A dead session counts until it has been recovered.
	Segments int
	Sessions int
	// Pinned is whether the area stays without any session.
	Pinned  bool
	Objects int

	// Stragglers are objects that stay in spans in which at most a quarter is allocated. They keep Straggling bytes of
	// free blocks there from objects of other sizes, and from the system.
	Stragglers int
	Straggling int64

	// Large is of objects with chunks of their own; its Size is 0, and its Spans are their number.
	Large ClassStats
	// Classes are those that have spans, the smallest blocks first.
	Classes []ClassStats
}

// ClassStats are those of a block size. Used, Free and Overhead together are the bytes of its spans.
type ClassStats struct {
	// Size is a block's, in bytes.
	Size    int
	Objects int
	// Spans is how many there are; Kept is how many of them sessions have to themselves.
	Spans    int
	Kept     int
	Used     int64
	Free     int64
	Overhead int64
}

// Stats walks the area and counts. It holds the area's lock for that, so a session that needs a new span or segment
// waits for it; Alloc and Free in spans that sessions have go on. It maps all segments. It waits for the lock for at
// most 10 seconds, or until ctx ends. Segments that are garbled count with what was found before the fault.
func (a *Area) Stats(ctx context.Context) (st Stats, err error) {
	err = a.withStripeAndLock(ctx, func() error {
		st, err = a.countLocked(ctx)
		return err
	})
	if err != nil {
		return Stats{}, err
	}
	return st, nil
}

// countLocked returns the Stats. The caller holds the area's lock. A large object's Used is its size, so that Overhead
// has what is left of its last chunk.
func (a *Area) countLocked(ctx context.Context) (st Stats, err error) {
	by := make([]ClassStats, len(classes))
	err = a.eachRunLocked(ctx, func(r spanRef, n int) error {
		bytes := int64(n) << chunkShift
		st.Free -= bytes
		if stateKind(r.s.state.Load()) == kindLarge {
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
			objects += ones(r.s.allocatedInWord(cl, w))
		}
		c := &by[cl.id]
		c.Size = int(cl.size)
		c.add(objects, int64(objects)*int64(cl.size), int64(cl.objects-objects)*int64(cl.size), bytes)
		if stateKind(r.s.state.Load()) == kindOwned {
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
			st.Total += int64(a.segmentSize(i))
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

// add adds a span of so many objects, with the bytes that are used, free and all of it.
func (c *ClassStats) add(objects int, used, free, all int64) {
	c.Spans++
	c.Objects += objects
	c.Used += used
	c.Free += free
	c.Overhead += all - used - free
}

// Dump writes Stats and the segments to w, for people; the format may change. It waits as Stats does, and writes
// without the lock.
func (a *Area) Dump(ctx context.Context, w io.Writer) error {
	st, err := a.Stats(ctx)
	if err != nil {
		return err
	}
	var lines []string
	err = a.contained(func() error {
		for i := range a.rows {
			if state, life := rowOf(a.rows[i].word.Load()); state == rowLive {
				lines = append(lines, fmt.Sprintf("%d.%d\t%x\t%d\t%d\t\n", i, life, a.rows[i].handle.Load(),
					a.rows[i].chunks.Load(), a.rows[i].free.Load()))
			}
		}
		return nil
	})
	if err = a.orClosed(err); err != nil {
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
	fmt.Fprint(t, strings.Join(lines, ""))
	return t.Flush()
}
