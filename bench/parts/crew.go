package parts

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/godsm/godsm/bench/figure"
	"github.com/godsm/godsm/bench/postgres"
	"github.com/godsm/godsm/bench/side"
	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/parallel"
	"github.com/godsm/godsm/shm"
	"golang.org/x/sys/unix"
)

func init() {
	side.Register("parallel/start", startWorker)
	side.Register("parallel/exec", startProcess)
	side.Register("parallel/map", mapOver)
}

// crew returns the figures of package parallel.
func crew(r Rivals) []figure.Figure {
	elements := 1_000_000
	return []figure.Figure{{
		Part: "parallel", Shape: "from Run until a worker's function runs", Max: 5e6, Sides: []figure.Contender{
			goSide(figure.Ours, "parallel/start"),
			why(goSide("a Go process, until main", "parallel/exec"),
				"the limit: a new process of the same program, which joins nothing"),
			why(r.postgres(postgres.Posix, "start worker"),
				"it forks a process that is set up already; a Go program can't fork, and starts anew"),
		},
	}, {
		Part: "parallel", Shape: "Map over 1,000,000 elements, two workers, for each", Sides: []figure.Contender{
			goSide(figure.Ours, "parallel/map", 2, elements),
			goal(goSide("one worker", "parallel/map", 1, elements), 1/1.8),
		},
	}}
}

// stamp lies in a segment: when the worker's function began.
type stamp struct{ At atomic.Int64 }

// monotonic returns a clock that all processes share.
func monotonic() int64 {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &t)
	return t.Nano()
}

var stampIt = parallel.Register("bench: stamp", func(ctx context.Context, w *parallel.Worker, h dsm.Handle) error {
	now := monotonic()
	g, err := w.Session.Attach(ctx, w.Owner, h)
	if err != nil {
		return err
	}
	s, err := shm.At[stamp](g.Region(), 0)
	if err == nil {
		s.At.Store(now)
	}
	return err
})

// startWorker counts from Run until the function begins; its end is left out.
func startWorker(side.Args) (*side.Work, error) {
	w, err := newWorld(nil)
	if err != nil {
		return nil, err
	}
	g, err := w.Create(ctx, w.Owner(), 8)
	if err != nil {
		return nil, err
	}
	s, err := shm.At[stamp](g.Region(), 0)
	return &side.Work{Run: func(n int) (sum time.Duration, err error) {
		for range n {
			begin := monotonic()
			if err := stampIt.Run(ctx, w.Session, 1, g.Handle()); err != nil {
				return 0, err
			}
			sum += time.Duration(s.At.Load() - begin)
		}
		return sum, nil
	}, Close: w.end}, err
}

func startProcess(side.Args) (*side.Work, error) {
	return &side.Work{Run: func(n int) (sum time.Duration, err error) {
		for range n {
			begin := time.Now()
			p, err := side.StartPartner("nothing", side.Alone, nil)
			if err != nil {
				return 0, err
			}
			sum += time.Since(begin)
			if err := p.Close(); err != nil {
				return 0, err
			}
		}
		return sum, nil
	}}, nil
}

var scramble = parallel.Map("bench: scramble", func(_ context.Context, _ *parallel.Worker, _ struct{},
	_ int, piece []uint64) error {
	for i, v := range piece {
		x := xorshift(v)
		for range 200 {
			x.next()
		}
		piece[i] = uint64(x)
	}
	return nil
})

// mapOver measures from Run until it returns, the workers' start included. Its arguments are WORKERS ELEMENTS.
func mapOver(a side.Args) (*side.Work, error) {
	w, err := newWorld(nil)
	if err != nil {
		return nil, err
	}
	n := a.Int(1)
	g, err := w.Create(ctx, w.Owner(), 8*n)
	if err != nil {
		return nil, err
	}
	values, err := shm.SliceOf[uint64](g.Region(), 0, n)
	if err != nil {
		return nil, err
	}
	for i := range values {
		values[i] = uint64(i + 1)
	}
	return &side.Work{Once: func() ([]float64, error) {
		begin := time.Now()
		numbers := parallel.Slice{Segment: g.Handle(), Len: n}
		if err := scramble.Run(ctx, w.Session, a.Int(0), numbers, struct{}{}); err != nil {
			return nil, err
		}
		took := time.Since(begin)
		if values[n-1] == uint64(n) {
			return nil, errors.New("the last element was left out")
		}
		return []float64{float64(took) / float64(n)}, nil
	}, Close: w.end}, nil
}
