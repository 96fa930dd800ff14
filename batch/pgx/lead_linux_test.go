package pgx_test

import (
	"errors"
	"testing"

	"github.com/godsm/godsm/batch"
	"github.com/godsm/godsm/batch/batchtest"
)

// run executes an insert in a transaction of a driver.
func run(t *testing.T, d batch.Driver[command, result], flush uint64, c command) (batch.Tx[command, result], error) {
	t.Helper()
	tx, err := d.Begin(t.Context(), flush)
	if err != nil {
		return nil, err
	}
	_, _, err = tx.Run(t.Context(), []batch.Step[command, result]{{Cmds: []command{c}, Res: make([]result, 1), Errs: make([]error, 1)}}, false)
	return tx, err
}

func TestSuccessorEndsWhatIsUnderWayAndIsToldTheRest(t *testing.T) {
	p := newPlace(t)
	first, second := newDriver(p), newDriver(p)
	defer func() {
		if err := errors.Join(first.Close(t.Context()), second.Close(t.Context())); err != nil {
			t.Error(err)
		}
	}()
	if by, flush, err := first.(batch.Fenced).Lead(t.Context(), "shared", 1, ""); err != nil || by != 0 || flush != 0 {
		t.Fatal(by, flush, err)
	}
	tx, err := run(t, first, 5, command{ID: 1, Op: batchtest.Insert, Key: "a", Value: 1})
	if err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if tx, err = run(t, first, 6, command{ID: 2, Op: batchtest.Insert, Key: "b", Value: 1}); err != nil {
		t.Fatal(err)
	}
	by, flush, err := second.(batch.Fenced).Lead(t.Context(), "shared", 2, first.(batch.Fenced).Backend())
	if err != nil || by != 1 || flush != 5 {
		t.Errorf("the successor is told %d, %d, %v", by, flush, err)
	}
	if err := tx.Commit(t.Context()); err == nil || first.Class(err) != batch.Lost {
		t.Errorf("the commit of the one before: %v", err)
	}
	if committed, err := first.Settle(t.Context(), 6); committed || err != nil {
		t.Errorf("it was committed: %v, %v", committed, err)
	}
	if _, err := run(t, first, 7, command{ID: 3, Op: batchtest.Insert, Key: "c", Value: 1}); !errors.Is(err, batch.ErrDeposed) ||
		first.Class(err) != batch.Fatal {
		t.Errorf("its next transaction: %v", err)
	}
	if tx, err = run(t, second, 1, command{ID: 4, Op: batchtest.Insert, Key: "d", Value: 1}); err == nil {
		err = tx.Commit(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := first.Settle(t.Context(), 6); !errors.Is(err, batch.ErrUnsettled) {
		t.Errorf("after a commit of the successor, what was before it is not known: %v", err)
	}
	if executed, _, err := p.state(); err != nil || len(executed) != 2 || executed[0] != 1 || executed[1] != 4 {
		t.Errorf("executed: %v, %v", executed, err)
	}
}
