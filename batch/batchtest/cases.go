package batchtest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/godsm/godsm/batch"
)

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
		results, errs := inOneFlush(t, e, cmds)
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
	results, errs := inOneFlush(t, e, skipped)
	if errs[7] != nil || results[7] != (Result{}) {
		t.Fatalf("a skipped row: %+v, %v", results[7], errs[7])
	}
	expect(t, db, slices.Delete(skipped, 7, 8), slices.Delete(results, 7, 8), slices.Delete(errs, 7, 8))
}

func lostCommits(t *testing.T, db Database) {
	e := newEngine(t, WithFaults(db.Driver, Faults{Seed: 1, LostYes: 0.3, LostNo: 0.1, Settle: 0.5}), batch.Options{MaxRows: 3})
	cmds := inserts(1, 60)
	results, errs := inOneFlush(t, e, cmds)
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
	results, errs := inOneFlush(t, e, cmds)
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
	_, errs := inOneFlush(t, e, cmds)
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
	results, errs := inOneFlush(t, e, cmds)
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
