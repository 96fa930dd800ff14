package parts

import (
	"errors"
	"fmt"

	"github.com/godsm/godsm/area"
	"github.com/godsm/godsm/bench/figure"
	"github.com/godsm/godsm/bench/postgres"
	"github.com/godsm/godsm/bench/side"
	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/shm/dsa"
)

func init() {
	side.Register("allocator/pair", allocPairs)
	side.Register("allocator/batch", allocBatch)
	side.Register("allocator/mixed", allocMixed)
	side.Register("allocator/two", allocTwo)
	side.Register("allocator/overhead", allocOverhead)
	side.Partner("allocator", allocPartner)
}

const whyFixed = "its heap is one segment of fixed size, which never comes or goes, under one mutex"

func allocator(r Rivals) (list []figure.Figure) {
	add := func(f figure.Figure) { f.Part = "allocator"; list = append(list, f) }
	for _, size := range []int{16, 64, 256, 1024, 8192} {
		add(figure.Figure{Shape: fmt.Sprintf("allocate+free %s", Size(size)), Sides: []figure.Contender{
			goSide(figure.Ours, "allocator/pair", size),
			goal(r.postgres(postgres.Posix, "alloc pair", size), 1),
			why(r.boost("alloc pair", size), whyFixed),
		}})
	}
	add(figure.Figure{Shape: "free+allocate 16 B to 8 KiB, 10,000 live", Sides: []figure.Contender{
		goSide(figure.Ours, "allocator/mixed"),
		goal(r.postgres(postgres.Posix, "alloc mixed"), 1),
		why(r.boost("alloc mixed"), whyFixed),
	}})
	add(figure.Figure{Shape: "1,000 of 8 KiB allocated, then freed, for each", Sides: []figure.Contender{
		goSide(figure.Ours, "allocator/batch", 8192),
		goal(r.postgres(postgres.Posix, "alloc batch", 8192), 1.0/5),
		why(r.boost("alloc batch", 8192), whyFixed),
	}})
	if len(pins()) > 1 {
		add(figure.Figure{Shape: "allocate+free 64 B, two processes at once", Pin: side.Diff, Sides: []figure.Contender{
			goSide(figure.Ours, "allocator/two", 64),
			goal(r.postgres(postgres.Posix, "two alloc pair", 64), 1.0/3),
		}})
	}
	const megabytes = 64
	mixture := fmt.Sprintf("%d MiB in objects of 16 B to 8 KiB", megabytes)
	add(figure.Figure{Shape: "headers and rounding, " + mixture, Unit: figure.Percent, Max: 12,
		Sides: []figure.Contender{goSide(figure.Ours, "allocator/overhead", megabytes, "without free")}})
	add(figure.Figure{Shape: "bytes of all segments beyond those asked for, " + mixture, Unit: figure.Percent,
		Sides: []figure.Contender{goSide(figure.Ours, "allocator/overhead", megabytes, "all"),
			r.postgres(postgres.Posix, "alloc overhead", megabytes)}})
	return list
}

func newArea() (*world, *dsa.Area, error) {
	w, err := newWorld(nil)
	if err != nil {
		return nil, nil, err
	}
	a, err := area.Create(ctx, w.Session, w.Owner(), dsa.Options{})
	return w, a, err
}

func pairLoop(a *dsa.Area, size int) func(int) error {
	return func(n int) error {
		for range n {
			p, err := a.Alloc(size)
			if err != nil {
				return err
			}
			if err := a.Free(p); err != nil {
				return err
			}
		}
		return nil
	}
}

// allocPairs measures an Alloc and its Free. Arguments: SIZE.
func allocPairs(a side.Args) (*side.Work, error) {
	w, heap, err := newArea()
	if err != nil {
		return nil, err
	}
	return &side.Work{Run: side.Loop(pairLoop(heap, a.Int(0))), Close: w.end}, nil
}

// allocBatch measures n objects that are all allocated, then all freed. Arguments: SIZE.
func allocBatch(a side.Args) (*side.Work, error) {
	w, heap, err := newArea()
	if err != nil {
		return nil, err
	}
	size, p := a.Int(0), make([]dsa.Pointer, 1000)
	return &side.Work{Run: side.Loop(func(n int) error {
		for ; n > 0; n -= len(p) {
			batch := p[:min(n, len(p))]
			for i := range batch {
				if batch[i], err = heap.Alloc(size); err != nil {
					return err
				}
			}
			for i := range batch {
				if err := heap.Free(batch[i]); err != nil {
					return err
				}
			}
		}
		return nil
	}), Close: w.end}, nil
}

// xorshift draws the same numbers as the C and C++ sides.
type xorshift uint64

const seed xorshift = 88172645463325252

func (x *xorshift) next() uint64 {
	*x ^= *x << 13
	*x ^= *x >> 7
	*x ^= *x << 17
	return uint64(*x)
}

func (x *xorshift) below(n int) int { return int((x.next() >> 32) * uint64(n) >> 32) }

// size draws 16 to 8191 bytes, each power of two as likely as another.
func (x *xorshift) size() int {
	r := x.next()
	e := 4 + r>>40%9
	return int(uint64(1)<<e + r&(1<<e-1))
}

func allocMixed(side.Args) (*side.Work, error) {
	w, heap, err := newArea()
	if err != nil {
		return nil, err
	}
	rnd, p := seed, make([]dsa.Pointer, 10000)
	for i := range p {
		if p[i], err = heap.Alloc(rnd.size()); err != nil {
			return nil, err
		}
	}
	loop := func(n int) error {
		for range n {
			k := rnd.below(len(p))
			if err := heap.Free(p[k]); err != nil {
				return err
			}
			if p[k], err = heap.Alloc(rnd.size()); err != nil {
				return err
			}
		}
		return nil
	}
	return &side.Work{Run: side.Loop(loop), Close: w.end}, loop(5 * len(p)) // a steady state
}

// allocTwo measures two processes that allocate and free in one area. Arguments: SIZE.
func allocTwo(a side.Args) (*side.Work, error) {
	w, heap, err := newArea()
	if err != nil {
		return nil, err
	}
	run, p, err := together("allocator", a, pairLoop(heap, a.Int(0)),
		[]string{w.dir, area.Handle(heap).String(), a.List[0]})
	return &side.Work{Run: run, Close: func() error { return errors.Join(p.Close(), w.end()) }}, err
}

// inArea begins a partner, whose arguments are DIR HANDLE; the partner closes the session.
func inArea(p *side.Peer) (*dsm.Session, *dsa.Area, error) {
	s, err := dsm.Open(ctx, dsm.Config{Dir: p.List[0]})
	if err != nil {
		return nil, nil, err
	}
	h, err := dsm.ParseHandle(p.List[1])
	if err != nil {
		return nil, nil, errors.Join(err, s.Close())
	}
	heap, err := area.Attach(ctx, s, s.Owner(), h)
	if err != nil {
		return nil, nil, errors.Join(err, s.Close())
	}
	return s, heap, nil
}

// allocPartner runs the other process of allocTwo. Arguments: DIR HANDLE SIZE.
func allocPartner(p *side.Peer) error {
	s, heap, err := inArea(p)
	if err != nil {
		return err
	}
	defer s.Close()
	return serveTogether(p, pairLoop(heap, p.Int(2)))
}

// allocOverhead measures how many percent more bytes the area takes than were asked for: those
// of all its segments, or of them without what is free for other objects. Its arguments are MiB WHAT.
func allocOverhead(a side.Args) (*side.Work, error) {
	w, err := newWorld(nil)
	if err != nil {
		return nil, err
	}
	return &side.Work{Once: func() ([]float64, error) {
		heap, err := area.Create(ctx, w.Session, w.Owner(), dsa.Options{})
		if err != nil {
			return nil, err
		}
		rnd, asked := seed, 0
		for asked < a.Int(0)<<20 {
			n := rnd.size()
			if _, err := heap.Alloc(n); err != nil {
				return nil, err
			}
			asked += n
		}
		st, err := heap.Stats(ctx)
		if err != nil {
			return nil, err
		}
		bytes := st.Total
		if a.List[1] != "all" {
			bytes -= st.Free
		}
		return []float64{100 * float64(bytes-int64(asked)) / float64(asked)}, heap.Detach()
	}, Close: w.end}, nil
}
