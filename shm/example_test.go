package shm_test

import (
	"context"
	"fmt"
	"log"
	"sync/atomic"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/supervisor"
)

// header lies at the beginning of a segment; samples of fixed size follow it.
type header struct{ Count atomic.Uint32 }

type sample struct{ At, Value float64 }

// Shared bytes get a shape: a struct at the beginning of a segment, and a slice behind it.
func Example() {
	err := supervisor.Run(context.Background(), dsm.Config{}, func(ctx context.Context, s *dsm.Session) error {
		at := shm.Offset(64) // of the samples
		seg, err := s.Create(ctx, nil, int(at)+10*shm.Size[sample]())
		if err != nil {
			return err
		}
		h, err := shm.At[header](seg.Region(), 0)
		if err != nil {
			return err
		}
		samples, err := shm.SliceOf[sample](seg.Region(), at, 10)
		if err != nil {
			return err
		}
		samples[0] = sample{1, 20.5}
		h.Count.Store(1) // after the sample: another process that reads 1 finds it
		fmt.Println(h.Count.Load(), samples[0])
		fmt.Println(shm.Check[[]byte]())
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output:
	// 1 {1 20.5}
	// []uint8 is a []uint8 and can't lie in shared memory, since its bytes are elsewhere: use an array, or an shm.Offset and a length
}

// A Region may also lie over ordinary bytes, as in tests.
func ExampleNewRegion() {
	r := shm.NewRegion(make([]byte, 100))
	part, err := r.Sub(40, 20)
	if err != nil {
		log.Fatal(err)
	}
	_, err = part.Bytes(16, 8)
	fmt.Println(part.Len(), err != nil)
	// Output: 20 true
}
