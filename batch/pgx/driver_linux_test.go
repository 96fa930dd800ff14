package pgx_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/godsm/godsm/batch"
	"github.com/godsm/godsm/batch/batchtest"
	driver "github.com/godsm/godsm/batch/pgx"
	"github.com/jackc/pgx/v5"
)

type engine = batch.Engine[command, result]

func newEngine(t *testing.T, p *place) *engine {
	e := batch.New(newDriver(p), batchtest.Rules(), batch.Options{})
	t.Cleanup(func() {
		if err := e.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return e
}

func do(t *testing.T, e *engine, c command) result {
	t.Helper()
	r, err := e.Do(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (p *place) exec(t *testing.T, sql string, args ...any) {
	t.Helper()
	if _, err := p.admin.Exec(context.Background(), sql, args...); err != nil {
		t.Fatal(err)
	}
}

func TestDeadlockWithAStrangerIsRetried(t *testing.T) {
	p := newPlace(t)
	// A backend looks for a deadlock once, so long after it began to wait. The engine's begins first, and the stranger's
	// must wait too by then, also on a busy machine; the stranger looks much later, so it is never the victim.
	p.config.RuntimeParams["deadlock_timeout"] = "1s"
	p.exec(t, "SET deadlock_timeout = '1min'")
	defer p.exec(t, "RESET deadlock_timeout")
	e := newEngine(t, p)
	for i, k := range []string{"a", "b"} {
		do(t, e, command{ID: 1 + i, Op: batchtest.Insert, Key: k, Value: 1})
	}
	p.exec(t, "BEGIN")
	p.exec(t, "UPDATE rows SET value = 10 WHERE key = 'b'")
	var wg sync.WaitGroup
	wg.Go(func() {
		ctx := batch.Ordered(t.Context())
		f := e.Submit(ctx, command{ID: 3, Op: batchtest.Add, Key: "a", Value: 1})
		g := e.Submit(ctx, command{ID: 4, Op: batchtest.Add, Key: "b", Value: 1})
		for _, f := range []*batch.Future[result]{f, g} {
			if _, err := f.Wait(t.Context()); err != nil {
				t.Error(err)
			}
		}
	})
	for waits := false; !waits; { // for b, with the lock of a
		if err := p.admin.QueryRow(t.Context(), "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)").Scan(&waits); err != nil {
			t.Fatal(err)
		}
	}
	p.exec(t, "UPDATE rows SET value = 20 WHERE key = 'a'")
	p.exec(t, "COMMIT")
	wg.Wait()
	if _, rows, err := p.state(); err != nil || rows["a"].Value < 2 || rows["b"].Value != 11 || e.Stats().Retries == 0 {
		t.Errorf("rows %+v, %v; %+v", rows, err, e.Stats())
	}
}

func TestServerRestartsInTheMiddle(t *testing.T) {
	p := newPlace(t)
	s, _ := private()
	e := newEngine(t, p)
	stop := make(chan struct{})
	told := make([]map[int]bool, 4)
	var wg sync.WaitGroup
	for caller := range told {
		told[caller] = map[int]bool{}
		wg.Go(func() {
			for i := caller; ; i += len(told) {
				select {
				case <-stop:
					return
				default:
				}
				c := command{ID: i + 1, Op: batchtest.Insert, Key: fmt.Sprint("k", i), Value: 1}
				if _, err := e.Do(t.Context(), c); err != nil {
					t.Errorf("%v: %v", c, err)
					return
				}
				told[caller][c.ID] = true
			}
		})
	}
	for range 3 {
		before := e.Stats().Commits
		for e.Stats().Commits < before+20 {
			time.Sleep(time.Millisecond)
		}
		if err := s.restart(); err != nil {
			t.Fatal(err)
		}
		var err error
		if p.admin, err = pgx.ConnectConfig(t.Context(), p.config.Copy()); err != nil {
			t.Fatal(err)
		}
		for range 20 { // strangers take the transaction numbers that the server has forgotten
			p.exec(t, "INSERT INTO parents VALUES (gen_random_uuid()::text)")
		}
	}
	close(stop)
	wg.Wait()
	executed, rows, err := p.state()
	if err != nil {
		t.Fatal(err)
	}
	times := map[int]int{}
	for _, id := range executed {
		times[id]++
	}
	n := 0
	for _, ids := range told {
		for id := range ids {
			n++
			if times[id] != 1 {
				t.Errorf("command %d was acknowledged, and executed %d times", id, times[id])
			}
		}
	}
	if n != len(rows) || n != len(executed) {
		t.Errorf("%d commands were acknowledged, %d rows are there, %d commands were executed", n, len(rows), len(executed))
	}
	t.Logf("%d commands, %+v", n, e.Stats())
}

func TestLargeGroupsAreCopied(t *testing.T) {
	p := newPlace(t)
	statement := &driver.Statement[command, result]{
		SQL: "INSERT INTO rows (key, value) SELECT * FROM unnest($1::text[], $2::int8[])",
		Args: func(cmds []command, args []any) []any {
			return append(args, column(cmds, key), column(cmds, value))
		},
		Copy: &driver.Copy[command]{
			Table:   pgx.Identifier{"rows"},
			Columns: []string{"key", "value"},
			Row:     func(c command, values []any) []any { return append(values, c.Key, c.Value) },
		},
	}
	e := batch.New(driver.New(p.config, func(command) *driver.Statement[command, result] { return statement }, driver.Options{}),
		batchtest.Rules(), batch.Options{Budget: time.Hour})
	defer e.Close(t.Context())
	p.exec(t, "CREATE TABLE statements (n bigserial, text text)")
	p.exec(t, `CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
		$$ BEGIN INSERT INTO statements (text) VALUES (current_query()); RETURN NULL; END $$`)
	p.exec(t, "CREATE TRIGGER note AFTER INSERT ON rows FOR EACH STATEMENT EXECUTE FUNCTION note()")
	first := 1
	for _, bad := range []int{-1, 300} {
		running, release := make(chan struct{}), make(chan struct{})
		once := sync.OnceFunc(func() { close(running) })
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := e.Interact(t.Context(), func(context.Context, any) error { once(); <-release; return nil }, nil); err != nil {
				t.Error(err)
			}
		})
		<-running
		futures := make([]*batch.Future[result], 700)
		for i := range futures {
			c := command{ID: first + i, Op: batchtest.Insert, Key: fmt.Sprint("k", first+i), Value: 1}
			if i == bad {
				c.Value = -1
			}
			futures[i] = e.Submit(t.Context(), c)
		}
		close(release)
		wg.Wait()
		for i, f := range futures {
			if _, err := f.Wait(t.Context()); (err != nil) != (i == bad) {
				t.Fatalf("command %d: %v", i, err)
			}
		}
		first += len(futures)
	}
	var rows, copies int
	err := p.admin.QueryRow(t.Context(), "SELECT (SELECT count(*) FROM rows), (SELECT count(*) FROM statements WHERE text ILIKE 'copy%')").
		Scan(&rows, &copies)
	if err != nil || rows != 1399 || copies != 1 { // the one with the bad row was undone
		t.Errorf("%d rows by %d copies, %v", rows, copies, err)
	}
}

func TestOtherModesAndChangedTables(t *testing.T) {
	for name, mode := range map[string]pgx.QueryExecMode{
		"prepared": pgx.QueryExecModeCacheStatement, "described": pgx.QueryExecModeCacheDescribe, "as it is": pgx.QueryExecModeExec,
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t)
			p.config.DefaultQueryExecMode = mode
			e := newEngine(t, p)
			do(t, e, command{ID: 1, Op: batchtest.Upsert, Key: "a", Value: 5})
			do(t, e, command{ID: 2, Op: batchtest.Select, Key: "a"})
			p.exec(t, "ALTER TABLE rows ALTER COLUMN value TYPE numeric") // the result of a prepared statement has another type
			if r := do(t, e, command{ID: 3, Op: batchtest.Select, Key: "a"}); r.Value != 5 {
				t.Errorf("the value is %d", r.Value)
			}
			if _, err := e.Do(t.Context(), command{ID: 4, Op: batchtest.Upsert, Key: "a", Value: -5}); batch.ExecutedOf(err) != batch.No {
				t.Errorf("a refused row: %v", err)
			}
			do(t, e, command{ID: 5, Op: batchtest.Update, Key: "a", Value: 7})
		})
	}
}

func TestAWrongPasswordOrDatabaseIsFatal(t *testing.T) {
	p := newPlace(t)
	p.config.Database = "nowhere"
	e := newEngine(t, p)
	_, err := e.Do(t.Context(), command{ID: 1, Op: batchtest.Insert, Key: "a"})
	fault, ok := errors.AsType[*batch.Error](err)
	if !ok || fault.Class != batch.Fatal || fault.Executed != batch.No || !strings.Contains(err.Error(), "nowhere") {
		t.Errorf("error %v", err)
	}
}

// A lone command's deferred constraint is left to the commit; what follows it in the transaction is not blamed.
func TestLoneOrphanIsBlamedItself(t *testing.T) {
	p := newPlace(t)
	e := newEngine(t, p)
	running, release := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { // the flush that holds the queue back
		once := sync.OnceFunc(func() { close(running); <-release })
		if err := e.Interact(t.Context(), func(context.Context, any) error { once(); return nil }, nil); err != nil {
			t.Error(err)
		}
	})
	<-running
	ctx := batch.Ordered(t.Context())
	orphan := e.Submit(ctx, command{ID: 1, Op: batchtest.Insert, Key: "a", Value: 1, Parent: "none"})
	wg.Go(func() {
		if err := e.Interact(ctx, func(context.Context, any) error { return nil }, nil); err != nil {
			t.Errorf("the interaction behind it: %v", err)
		}
	})
	for e.Stats().Waiting < 2 {
		time.Sleep(time.Millisecond)
	}
	close(release)
	wg.Wait()
	if _, err := orphan.Wait(t.Context()); err == nil || !strings.Contains(err.Error(), "foreign key") {
		t.Errorf("the command without its parent ended with %v", err)
	}
	if _, err := e.Do(t.Context(), command{ID: 2, Op: batchtest.Insert, Key: "b", Value: 1, Parent: "none"}); err == nil ||
		!strings.Contains(err.Error(), "foreign key") {
		t.Errorf("alone, it ended with %v", err)
	}
}
