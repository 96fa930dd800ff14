package parallel_test

import (
	"context"
	"fmt"
	"log"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/parallel"
	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/supervisor"
)

var squareAll = parallel.Map("square all", func(ctx context.Context, w *parallel.Worker, add int64, at int, piece []int64) error {
	for i := range piece {
		piece[i] = piece[i]*piece[i] + add
	}
	return nil
})

// Workers share a slice in a segment: each takes one piece after the other. TestMain, or main, begins with
// parallel.Main.
func ExampleMap() {
	err := supervisor.Run(context.Background(), dsm.Config{}, func(ctx context.Context, s *dsm.Session) error {
		const n = 1000
		seg, err := s.Create(ctx, nil, n*shm.Size[int64]())
		if err != nil {
			return err
		}
		numbers, err := shm.SliceOf[int64](seg.Region(), 0, n)
		if err != nil {
			return err
		}
		for i := range numbers {
			numbers[i] = int64(i)
		}
		if err := squareAll.Run(ctx, s, 2, parallel.Slice{Segment: seg.Handle(), Len: n}, 1); err != nil {
			return err
		}
		fmt.Println(numbers[2], numbers[999])
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output: 5 998002
}

var greet = parallel.Register("greet", func(ctx context.Context, w *parallel.Worker, name string) error {
	return w.Send(ctx, fmt.Appendf(nil, "worker %d greets %s", w.Index, name))
})

// A worker sends its results to the leader.
func ExampleRegister() {
	err := supervisor.Run(context.Background(), dsm.Config{}, func(ctx context.Context, s *dsm.Session) error {
		o := parallel.Options{Workers: 1, Result: func(_ int, b []byte) error {
			fmt.Println(string(b))
			return nil
		}}
		return greet.RunWith(ctx, s, o, "the leader")
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output: worker 0 greets the leader
}
