package batchtest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/godsm/godsm/batch"
)

// A Database is an empty one with a driver, for one test.
type Database struct {
	Driver batch.Driver[Command, Result]
	// State returns the numbers of the commands in the order in which they were executed, but for Select, and the rows.
	State func() ([]int, map[string]Row, error)
	// Exec executes a command with what the driver hands to interactions.
	Exec func(ctx context.Context, tx any, c Command) (Result, error)
	// Trips returns how many round trips the driver has made; nil: they are not counted.
	Trips func() int
	// Kill ends all connections; nil: there is no way.
	Kill func() error
	// CanKill reports whether a row with the value Kills ends its connection.
	CanKill bool
}

// Run judges a driver. open returns an empty database, and cleans up by t.Cleanup. programs is how many random programs
// it plays.
func Run(t *testing.T, programs int, open func(t *testing.T) Database) {
	for _, test := range []struct {
		name string
		run  func(t *testing.T, db Database)
	}{
		{"BadRowsAmongAThousandFailAlone", badRows},
		{"CommitWithoutAnswerIsSettled", lostCommits},
		{"UnsettledCommitIsMaybe", unsettled},
		{"InteractionsAndTheirUndoMatchTheRows", interactions},
		{"AContextWithdrawsItsCommandAlone", withdraw},
		{"CloseDrains", closeDrains},
		{"AHotKeyIsMerged", hotKey},
		{"BytesAreSplit", bytes},
		{"KilledConnectionsAreNotNoticed", kills},
		{"ARowThatKillsItsConnectionIsPoison", poison},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, open(t)) })
	}
	t.Run("RandomProgramsEqualSerialExecution", func(t *testing.T) {
		for seed := range uint64(programs) {
			t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) { Judge(t, seed, open(t), Ways{}) })
		}
	})
}

// Judge plays one random program over a database, with faults, and checks what its callers were told.
func Judge(t *testing.T, seed uint64, db Database, ways Ways) {
	r := rand.New(rand.NewPCG(seed, 7))
	some := func(p float64) float64 { return p * float64(r.IntN(2)) }
	faults := Faults{
		Seed:     seed,
		Begin:    some(0.1),
		Deadlock: some(0.05),
		Lost:     some(0.05),
		Busy:     some(0.1),
		LostYes:  some(0.1),
		LostNo:   some(0.1),
		Settle:   0.3,
	}
	program := Program{
		Seed:     seed,
		Callers:  1 + r.IntN(8),
		Commands: 1 + r.IntN(24),
		Keys:     1 + r.IntN(6),
		Bad:      some(0.1),
		Spoils:   some(0.02),
		Panics:   some(0.02),
		Leave:    some(0.1),
		Get:      r.IntN(2) == 0,
	}
	if kills := some(0.01); db.CanKill && faults.Lost+faults.LostNo+faults.LostYes == 0 {
		program.Kills = kills // otherwise what is lost by chance looks like poison
	}
	options := batch.Options{
		MaxRows:  []int{0, 1, 3, 20}[r.IntN(4)],
		MaxBytes: []int{0, 1, 100}[r.IntN(3)],
		Queue:    []int{0, 1, 5}[r.IntN(3)],
		Cache:    []int{0, 2, 100}[r.IntN(3)],
	}
	engine := batch.New(WithFaults(db.Driver, faults), Rules(), options)
	history := &History{}
	program.Play(engine, history, 1)
	if err := engine.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	executed, rows, err := db.State()
	if err == nil {
		err = history.Check(executed, rows)
	}
	if err != nil {
		t.Fatalf("%v\n%+v\n%+v\n%+v\n%+v", err, ways, faults, program, options)
	}
}

// together hands commands in so that they are in one flush, and returns their outcomes.
func together(t *testing.T, e *batch.Engine[Command, Result], cmds []Command) ([]Result, []error) {
	t.Helper()
	running, release := make(chan struct{}), make(chan struct{})
	held := make(chan error, 1)
	go func() {
		once := sync.OnceFunc(func() { close(running) })
		held <- e.Interact(t.Context(), func(context.Context, any) error {
			once()
			<-release
			return nil
		}, nil)
	}()
	<-running
	futures := make([]*batch.Future[Result], len(cmds))
	for i, c := range cmds {
		futures[i] = e.Submit(t.Context(), c)
	}
	close(release)
	if err := <-held; err != nil {
		t.Fatal(err)
	}
	results, errs := make([]Result, len(cmds)), make([]error, len(cmds))
	for i, f := range futures {
		results[i], errs[i] = f.Wait(t.Context())
	}
	return results, errs
}

// patient are options under which an interaction may hold the worker up.
var patient = batch.Options{Budget: time.Hour}

func newEngine(t *testing.T, d batch.Driver[Command, Result], o batch.Options) *batch.Engine[Command, Result] {
	e := batch.New(d, Rules(), o)
	t.Cleanup(func() {
		if err := e.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return e
}

// inserts are commands that insert n rows.
func inserts(first, n int) []Command {
	cmds := make([]Command, n)
	for i := range cmds {
		cmds[i] = Command{ID: first + i, Op: Insert, Key: fmt.Sprint("k", first+i), Value: int64(i)}
	}
	return cmds
}

// expect checks that the database holds exactly what the commands without an error have inserted.
func expect(t *testing.T, db Database, cmds []Command, results []Result, errs []error) {
	t.Helper()
	executed, rows, err := db.State()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[int]int{}
	for _, id := range executed {
		seen[id]++
	}
	ids := map[int64]bool{}
	for i, c := range cmds {
		row, there := rows[c.Key]
		switch {
		case errs[i] == nil && (!there || row.Value != c.Value || row.ID != results[i].ID || seen[c.ID] != 1):
			t.Fatalf("%v returned %+v; its row is %+v (%v), and it was executed %d times", c, results[i], row, there, seen[c.ID])
		case errs[i] != nil && (there || seen[c.ID] != 0):
			t.Fatalf("%v failed with %v; its row is %+v (%v), and it was executed %d times", c, errs[i], row, there, seen[c.ID])
		case errs[i] == nil && ids[row.ID]:
			t.Fatalf("the id %d was told twice", row.ID)
		}
		ids[row.ID] = errs[i] == nil
	}
}

func badRows(t *testing.T, db Database) {
	e := newEngine(t, db.Driver, patient)
	first := 1
	for _, bad := range []int{0, 1, 1, 10, 100} {
		cmds := inserts(first, 1000)
		first += len(cmds)
		for i, x := range rand.New(rand.NewPCG(uint64(first), 1)).Perm(1000)[:bad] {
			cmds[x].Value = []int64{-1, Refused}[i%2]
		}
		trips := 0
		if db.Trips != nil {
			trips = db.Trips()
		}
		before := e.Stats()
		results, errs := together(t, e, cmds)
		if db.Trips != nil {
			trips = db.Trips() - trips
			t.Logf("%d bad rows of 1,000: %d round trips, %d runs to find them, with what held them up", bad, trips,
				e.Stats().Bisected-before.Bisected)
			if bad == 1 && trips > 25+3 { // begin, interaction and commit of what has held them up
				t.Errorf("%d round trips to find one row of 1,000", trips)
			}
		}
		for i, c := range cmds {
			if (errs[i] != nil) != (c.Value < 0 || c.Value == Refused) {
				t.Fatalf("%v: %v", c, errs[i])
			}
		}
		expect(t, db, cmds, results, errs)
	}
	skipped := inserts(first, 20)
	skipped[7].Value = Skipped
	results, errs := together(t, e, skipped)
	if errs[7] != nil || results[7] != (Result{}) {
		t.Fatalf("a skipped row: %+v, %v", results[7], errs[7])
	}
	expect(t, db, slices.Delete(skipped, 7, 8), slices.Delete(results, 7, 8), slices.Delete(errs, 7, 8))
}

func lostCommits(t *testing.T, db Database) {
	e := newEngine(t, WithFaults(db.Driver, Faults{Seed: 1, LostYes: 0.3, LostNo: 0.1, Settle: 0.5}), batch.Options{MaxRows: 3})
	cmds := inserts(1, 60)
	results, errs := together(t, e, cmds)
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	expect(t, db, cmds, results, errs)
	if s := e.Stats(); s.Settled == 0 {
		t.Errorf("no commit was settled: %+v", s)
	}
}

func unsettled(t *testing.T, db Database) {
	e := newEngine(t, WithFaults(db.Driver, Faults{LostYes: 1, Unsettled: true}), batch.Options{})
	_, err := e.Do(t.Context(), inserts(1, 1)[0])
	if batch.ExecutedOf(err) != batch.Maybe || !errors.Is(err, errLost) {
		t.Fatalf("error %v, executed: %v", err, batch.ExecutedOf(err))
	}
	executed, _, err := db.State()
	if err != nil || len(executed) != 1 {
		t.Fatalf("executed %v, %v", executed, err)
	}
}

func interactions(t *testing.T, db Database) {
	e := newEngine(t, WithFaults(db.Driver, Faults{Seed: 2, Deadlock: 0.2, Busy: 0.2, LostYes: 0.1}), batch.Options{})
	var wg sync.WaitGroup
	counter, refusals := atomic.Int64{}, atomic.Int64{} // what interactions change outside the database
	for i := range 30 {
		wg.Go(func() {
			c := Command{ID: 1000 + i, Op: Insert, Key: fmt.Sprint("i", i), Value: 1}
			if i%5 == 0 {
				c.Value = Refused
			}
			err := e.Interact(t.Context(), func(ctx context.Context, tx any) error {
				if _, err := e.Do(ctx, c); !errors.Is(err, batch.ErrInside) {
					return fmt.Errorf("a call of the engine inside: %w", err)
				}
				counter.Add(1)
				_, err := db.Exec(ctx, tx, c)
				return err
			}, func(int, error) { counter.Add(-1) })
			if (err != nil) != (c.Value == Refused) {
				t.Errorf("%v: %v", c, err)
			}
			if err != nil {
				refusals.Add(1)
			}
		})
		wg.Go(func() {
			if _, err := e.Do(t.Context(), inserts(i+1, 1)[0]); err != nil {
				t.Error(err)
			}
		})
	}
	err := e.Interact(t.Context(), func(context.Context, any) error { panic("as told") }, nil)
	if !errors.Is(err, batch.ErrPanic) {
		t.Errorf("a panic is %v", err)
	}
	wg.Wait()
	executed, rows, err := db.State()
	if err != nil || int64(len(rows)) != 30+counter.Load() || len(executed) != len(rows) || refusals.Load() != 6 {
		t.Errorf("%d rows by %d commands, counter %d, %d refused; %v", len(rows), len(executed), counter.Load(), refusals.Load(), err)
	}
}

func withdraw(t *testing.T, db Database) {
	e := newEngine(t, db.Driver, patient)
	running, release := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := e.Interact(t.Context(), func(context.Context, any) error { close(running); <-release; return nil }, nil); err != nil {
			t.Error(err)
		}
	})
	<-running
	cmds := inserts(1, 20)
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("why")
	futures := make([]*batch.Future[Result], len(cmds))
	left := make(chan error, len(cmds))
	for i, c := range cmds {
		switch {
		case i%2 == 0:
			futures[i] = e.Submit(t.Context(), c)
		case i%4 == 1:
			futures[i] = e.Submit(ctx, c)
		default:
			go func() { _, err := e.Do(ctx, c); left <- err }()
		}
	}
	for e.Stats().Waiting < len(cmds) {
		time.Sleep(time.Millisecond)
	}
	cancel(why)
	for range 5 {
		if err := <-left; !errors.Is(err, why) || batch.ExecutedOf(err) != batch.No {
			t.Errorf("error %v, executed: %v", err, batch.ExecutedOf(err))
		}
	}
	close(release)
	wg.Wait()
	results, errs := make([]Result, len(cmds)), make([]error, len(cmds))
	for i, f := range futures {
		if f == nil {
			errs[i] = why
			continue
		}
		results[i], errs[i] = f.Wait(t.Context())
		if (errs[i] != nil) != (i%2 == 1) || errs[i] != nil && !errors.Is(errs[i], why) {
			t.Errorf("command %d: %v", i, errs[i])
		}
	}
	expect(t, db, cmds, results, errs)
}

func closeDrains(t *testing.T, db Database) {
	e := batch.New(db.Driver, Rules(), batch.Options{MaxRows: 7})
	cmds := inserts(1, 100)
	futures := make([]*batch.Future[Result], len(cmds))
	for i, c := range cmds {
		futures[i] = e.Submit(t.Context(), c)
	}
	if err := e.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	results, errs := make([]Result, len(cmds)), make([]error, len(cmds))
	for i, f := range futures {
		select {
		case <-f.Done():
		default:
			t.Fatalf("command %d has no outcome after Close", i)
		}
		if results[i], errs[i] = f.Wait(t.Context()); errs[i] != nil {
			t.Fatal(errs[i])
		}
	}
	expect(t, db, cmds, results, errs)
	if _, err := e.Do(t.Context(), cmds[0]); !errors.Is(err, batch.ErrClosed) {
		t.Errorf("Do after Close: %v", err)
	}
	if err := errors.Join(e.Close(t.Context()), e.Close(t.Context())); err != nil {
		t.Errorf("a second Close: %v", err)
	}
}

func hotKey(t *testing.T, db Database) {
	e := newEngine(t, db.Driver, patient)
	cmds := []Command{{ID: 1, Op: Insert, Key: "hot"}}
	for i := range 200 {
		cmds = append(cmds, Command{ID: 2 + i, Op: Add, Key: "hot", Value: int64(i)})
	}
	before := e.Stats()
	results, errs := together(t, e, cmds)
	sum := int64(0)
	for i, c := range cmds[1:] {
		if sum += c.Value; errs[i+1] != nil || results[i+1].Value != sum {
			t.Fatalf("%v returned %+v, %v; want %d", c, results[i+1], errs[i+1], sum)
		}
	}
	if s := e.Stats(); s.Merged-before.Merged != 200 || s.Steps-before.Steps > 2 {
		t.Errorf("%d merged, %d statements", s.Merged-before.Merged, s.Steps-before.Steps)
	}
}

func bytes(t *testing.T, db Database) {
	e := newEngine(t, db.Driver, batch.Options{Budget: time.Hour, MaxBytes: 1 << 20})
	cmds := inserts(1, 40)
	for i := range cmds {
		cmds[i].Second = fmt.Sprintf("%d%0200000d", i, 0)
	}
	before := e.Stats().Commits
	_, errs := together(t, e, cmds)
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	if n := e.Stats().Commits - before; n < 8 {
		t.Errorf("8 MB were written by %d transactions of at most 1 MB", n)
	}
}

func kills(t *testing.T, db Database) {
	if db.Kill == nil {
		t.Skip("skipped: connections to this database can't be ended from outside")
	}
	e := newEngine(t, db.Driver, batch.Options{})
	stop, killed := make(chan struct{}), 0
	var killer sync.WaitGroup
	killer.Go(func() {
		for answered := uint64(0); ; {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
			}
			if n := e.Stats().Commands; n >= answered+50 { // a connection lives for some commits
				answered = n
				if err := db.Kill(); err != nil {
					t.Error(err)
					return
				}
				killed++
			}
		}
	})
	cmds := inserts(1, 8*100)
	results, errs := make([]Result, len(cmds)), make([]error, len(cmds))
	var wg sync.WaitGroup
	for caller := range 8 {
		wg.Go(func() {
			for i := caller; i < len(cmds); i += 8 {
				results[i], errs[i] = e.Do(t.Context(), cmds[i])
			}
		})
	}
	wg.Wait()
	close(stop)
	killer.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	expect(t, db, cmds, results, errs)
	t.Logf("%d kills, %+v", killed, e.Stats())
	if killed == 0 {
		t.Error("no connection was killed")
	}
}

func poison(t *testing.T, db Database) {
	if !db.CanKill {
		t.Skip("skipped: no row can end a connection to this database")
	}
	e := newEngine(t, db.Driver, patient)
	cmds := inserts(1, 100)
	cmds[41].Value = Kills
	results, errs := together(t, e, cmds)
	for i, err := range errs {
		if i == 41 && (!errors.Is(err, batch.ErrPoison) || batch.ExecutedOf(err) != batch.No) || i != 41 && err != nil {
			t.Errorf("command %d: %v", i, err)
		}
	}
	expect(t, db, cmds, results, errs)
	if s := e.Stats(); s.Lost > 15 {
		t.Errorf("%d connections were lost for one row of 100", s.Lost)
	}
}

// OfMemory returns a database that is a Memory.
func OfMemory(ways Ways) Database {
	m := NewMemory(ways)
	return Database{
		Driver: m,
		State: func() ([]int, map[string]Row, error) {
			executed, rows := m.State()
			return executed, maps.Clone(rows), nil
		},
		Exec:    func(_ context.Context, tx any, c Command) (Result, error) { return tx.(Execer)(c) },
		Trips:   m.Trips,
		CanKill: true,
	}
}
