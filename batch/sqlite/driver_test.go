package sqlite_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/godsm/godsm/batch"
	"github.com/godsm/godsm/batch/batchtest"
	"github.com/godsm/godsm/batch/sqlite"
)

func TestALockThatAnotherConnectionHoldsIsWaitedFor(t *testing.T) {
	db := open(t)
	e := batch.New(newDriver(db), batchtest.Rules(), batch.Options{})
	defer e.Close(context.Background())
	other, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if _, err := other.ExecContext(t.Context(), "BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	var futures []*batch.Future[result]
	for i := range 20 {
		futures = append(futures, e.Submit(t.Context(), command{ID: i + 1, Op: batchtest.Insert, Key: fmt.Sprint("k", i)}))
		for i == 0 && e.Stats().Trouble == nil { // longer than the driver waits by itself; the rest is in no flush yet
			time.Sleep(time.Millisecond)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	withdrawn := e.Submit(ctx, command{ID: 100, Op: batchtest.Insert, Key: "withdrawn"})
	cancel()
	if _, err := withdrawn.Wait(t.Context()); batch.ExecutedOf(err) != batch.No {
		t.Errorf("a command that was withdrawn while the database was locked: %v", err)
	}
	if _, err := other.ExecContext(t.Context(), "COMMIT"); err != nil {
		t.Fatal(err)
	}
	for _, f := range futures {
		if _, err := f.Wait(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if s := e.Stats(); s.Trouble != nil || s.Commits > 3 {
		t.Errorf("after the lock: %+v", s)
	}
}

func TestFunctionsThatPanicFailTheirCommand(t *testing.T) {
	db := open(t)
	bad := *statements[batchtest.Upsert]
	bad.Done = func(*result, int64, int64) { panic("as told") }
	worse := *statements[batchtest.Update]
	worse.Bind = func(command, []any) []any { panic("as told") }
	driver := sqlite.New(db, func(c command) *statement {
		switch c.Op {
		case batchtest.Upsert:
			return &bad
		case batchtest.Update:
			return &worse
		case batchtest.Delete:
			panic("as told")
		}
		return statements[c.Op]
	}, sqlite.Options{})
	e := batch.New(driver, batchtest.Rules(), batch.Options{})
	defer e.Close(context.Background())
	var futures []*batch.Future[result]
	for i := range 40 {
		c := command{ID: i + 1, Op: batchtest.Insert, Key: fmt.Sprint("k", i)}
		if i%8 == 1 {
			c.Op = []batchtest.Op{batchtest.Upsert, batchtest.Update, batchtest.Delete}[i/8%3]
		}
		futures = append(futures, e.Submit(t.Context(), c))
	}
	for i, f := range futures {
		if _, err := f.Wait(t.Context()); errors.Is(err, batch.ErrPanic) != (i%8 == 1) || err != nil != (i%8 == 1) {
			t.Errorf("command %d: %v", i, err)
		}
	}
	if _, rows, err := state(db); err != nil || len(rows) != 35 {
		t.Errorf("%d rows, %v", len(rows), err)
	}
}

func TestATableThatIsNotTheDriversFailsCommands(t *testing.T) {
	db := open(t)
	if _, err := db.Exec("CREATE TABLE batch_epoch (other TEXT)"); err != nil {
		t.Fatal(err)
	}
	e := batch.New(newDriver(db), batchtest.Rules(), batch.Options{})
	defer e.Close(context.Background())
	if _, err := e.Do(t.Context(), command{ID: 1, Op: batchtest.Insert, Key: "a"}); batch.ExecutedOf(err) != batch.No {
		t.Errorf("a table of the driver's that is another one: %v", err)
	}
}
