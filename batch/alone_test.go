package batch_test

import (
	"context"
	"sync"
	"testing"

	"github.com/godsm/godsm/batch"
	"github.com/godsm/godsm/batch/batchtest"
)

// panics is a driver whose commits panic once.
type panics struct {
	batch.Driver[batchtest.Command, batchtest.Result]
	once sync.Once
}

type panicsTx struct {
	batch.Tx[batchtest.Command, batchtest.Result]
	d *panics
}

func (d *panics) Begin(ctx context.Context, flush uint64) (batch.Tx[batchtest.Command, batchtest.Result], error) {
	tx, err := d.Driver.Begin(ctx, flush)
	return panicsTx{tx, d}, err
}

func (t panicsTx) Commit(ctx context.Context) error {
	t.d.once.Do(func() { panic("as told") })
	return t.Tx.Commit(ctx)
}

// TestLoneCallerWhoseDriverPanicsLeavesAnEngine has the driver panic in the goroutine of a caller that executes its own command.
// The caller recovers; its command was rolled back, and other callers are answered.
func TestLoneCallerWhoseDriverPanicsLeavesAnEngine(t *testing.T) {
	m := batchtest.NewMemory(batchtest.Ways{})
	e := batch.New(&panics{Driver: m}, batchtest.Rules(), batch.Options{})
	insert := func(id int, key string) batchtest.Command {
		return batchtest.Command{ID: id, Op: batchtest.Insert, Key: key, Value: 1}
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic has not reached the caller")
			}
		}()
		_, _ = e.Do(context.Background(), insert(1, "a"))
	}()
	for i, ctx := range []context.Context{context.Background(), t.Context()} {
		if _, err := e.Do(ctx, insert(2+i, string(rune('a'+i)))); err != nil {
			t.Error(err)
		}
	}
	if err := e.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if executed, _ := m.State(); len(executed) != 2 {
		t.Errorf("executed: %v", executed)
	}
}
