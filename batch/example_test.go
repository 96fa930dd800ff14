package batch_test

import (
	"context"
	"fmt"
	"sync"

	"github.com/godsm/godsm/batch"
	"github.com/godsm/godsm/batch/batchtest"
)

// A hundred callers add to one counter. Each of them gets the value that its own addition has made.
func Example() {
	ctx := context.Background()
	e := batch.New(batchtest.NewMemory(batchtest.Ways{}), batchtest.Rules(), batch.Options{})
	if _, err := e.Do(ctx, batchtest.Command{ID: 1, Op: batchtest.Insert, Key: "visits"}); err != nil {
		fmt.Println(err)
	}
	var wg sync.WaitGroup
	for caller := range 100 {
		wg.Go(func() {
			r, err := e.Do(ctx, batchtest.Command{ID: 2 + caller, Op: batchtest.Add, Key: "visits", Value: 1})
			if err != nil || r.Value < 1 {
				fmt.Println(r, err)
			}
		})
	}
	wg.Wait()
	r, err := e.Do(ctx, batchtest.Command{ID: 200, Op: batchtest.Select, Key: "visits"})
	fmt.Println(r.Value, err, e.Close(ctx))
	// Output: 100 <nil> <nil>
}
