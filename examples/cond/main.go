// Command cond shows two processes that wait for one another's numbers: the leader makes work, a worker
// does it, and each sleeps on a condition variable in a segment until there is something for it to do.
//
//	go run ./examples/cond
package main

import (
	"context"
	"fmt"
	"log"
	"sync/atomic"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/parallel"
	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/shmsync"
	"github.com/godsm/godsm/supervisor"
)

// bench lies in the segment: a place for a few pieces of work, and how many have been put there and taken away.
type bench struct {
	put, taken atomic.Uint64
	news       shmsync.Cond
	pieces     [8]atomic.Uint64
	sum        atomic.Uint64
}

const pieces = 100_000

// until sleeps until ready says so.
func (b *bench) until(ctx context.Context, ready func() bool) error {
	if ready() {
		return nil
	}
	t := b.news.Prepare()
	defer t.Cancel()
	for !ready() {
		if err := t.Sleep(ctx); err != nil {
			return err
		}
	}
	return nil
}

var worker = parallel.Register("worker", func(ctx context.Context, w *parallel.Worker, h dsm.Handle) error {
	seg, err := w.Session.Attach(ctx, w.Owner, h)
	if err != nil {
		return err
	}
	b, err := shm.At[bench](seg.Region(), 0)
	if err != nil {
		return err
	}
	for n := uint64(0); n < pieces; n++ {
		if err := b.until(ctx, func() bool { return b.put.Load() > n }); err != nil {
			return err
		}
		b.sum.Add(b.pieces[n%8].Load())
		b.taken.Store(n + 1)
		b.news.Signal()
	}
	return nil
})

func run(ctx context.Context, s *dsm.Session) error {
	seg, err := s.Create(ctx, s.Owner(), 4096)
	if err != nil {
		return err
	}
	b, err := shm.At[bench](seg.Region(), 0)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	ended := make(chan error, 1)
	go func() {
		err := worker.Run(ctx, s, 1, seg.Handle())
		cancel(fmt.Errorf("the worker has ended: %w", err)) // then no process takes anything away
		ended <- err
	}()
	for n := uint64(0); n < pieces; n++ {
		if err := b.until(ctx, func() bool { return n < b.taken.Load()+8 }); err != nil {
			return err
		}
		b.pieces[n%8].Store(n)
		b.put.Store(n + 1)
		b.news.Signal()
	}
	if err := <-ended; err != nil {
		return err
	}
	fmt.Printf("the worker took %d pieces, in all %d\n", b.taken.Load(), b.sum.Load())
	if want := uint64(pieces * (pieces - 1) / 2); b.sum.Load() != want {
		return fmt.Errorf("want %d", want)
	}
	return nil
}

func main() {
	parallel.Main() // in the worker this runs the task and never returns
	if err := supervisor.Run(context.Background(), dsm.Config{}, run); err != nil {
		log.Fatal(err)
	}
}
