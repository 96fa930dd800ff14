package shared_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log"

	"github.com/godsm/godsm/batch"
	"github.com/godsm/godsm/batch/batchtest"
	"github.com/godsm/godsm/batch/shared"
	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/supervisor"
)

// oneLeader is a driver for a database that no other process uses: there is none that it has to keep out. The drivers of
// batch/pgx and batch/sqlite do that in the database.
type oneLeader struct {
	batch.Driver[batchtest.Command, batchtest.Result]
}

func (oneLeader) Lead(context.Context, string, uint64, string) (by, flush uint64, err error) {
	return 0, 0, nil
}

func (oneLeader) Backend() string { return "" }

// coded has commands and results lie in shared memory as JSON.
func coded[T any]() shared.Codec[T] {
	return shared.Codec[T]{
		Append: func(b []byte, v T) ([]byte, error) {
			text, err := json.Marshal(v)
			return append(b, text...), err
		},
		Parse: func(b []byte) (v T, err error) {
			err = json.Unmarshal(b, &v)
			return v, err
		},
	}
}

// Processes open one queue by its name. The one that leads executes the commands of all.
func Example() {
	err := supervisor.Run(context.Background(), dsm.Config{}, func(ctx context.Context, s *dsm.Session) error {
		db := oneLeader{batchtest.NewMemory(batchtest.Ways{})}
		q, err := shared.Open(ctx, s, "visits", coded[batchtest.Command](), coded[batchtest.Result](), batchtest.Rules(),
			func() (batch.Driver[batchtest.Command, batchtest.Result], error) { return db, nil }, shared.Options{})
		if err != nil {
			return err
		}
		if _, err := q.Do(ctx, batchtest.Command{ID: 1, Op: batchtest.Insert, Key: "home", Value: 5}); err != nil {
			return err
		}
		r, err := q.Do(ctx, batchtest.Command{ID: 2, Op: batchtest.Add, Key: "home", Value: 5})
		fmt.Println(r.Value, err)
		return q.Close(ctx)
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output: 10 <nil>
}
