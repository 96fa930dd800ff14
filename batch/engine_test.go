package batch_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/godsm/godsm/batch"
	"github.com/godsm/godsm/batch/batchtest"
)

type (
	command = batchtest.Command
	result  = batchtest.Result
	engine  = batch.Engine[command, result]
)

// newEngine starts an engine over a memory; it is closed at the end of the test.
func newEngine(t *testing.T, m *batchtest.Memory, o batch.Options) *engine {
	e := batch.New(m, batchtest.Rules(), o)
	t.Cleanup(func() {
		if err := e.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return e
}

func insert(id int) command {
	return command{ID: id, Op: batchtest.Insert, Key: fmt.Sprint("k", id), Value: int64(id)}
}

// until waits until a condition holds that others bring about.
func until(condition func() bool) {
	for !condition() {
		time.Sleep(time.Millisecond)
	}
}

func TestErrorsSayWhetherTheCommandWasExecuted(t *testing.T) {
	why := errors.New("why")
	ended, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	for name, test := range map[string]struct {
		do       func(e *engine, m *batchtest.Memory) error
		is       error
		executed batch.Executed
	}{
		"success": {func(e *engine, _ *batchtest.Memory) error {
			_, err := e.Do(t.Context(), insert(1))
			return err
		}, nil, batch.Yes},
		"a context that has ended": {func(e *engine, _ *batchtest.Memory) error {
			_, err := e.Do(ended, insert(1))
			return err
		}, why, batch.No},
		"a context that ends in the flush": {func(e *engine, m *batchtest.Memory) error {
			release := m.Hold()
			defer release()
			ctx, cancel := context.WithCancelCause(t.Context())
			failed := make(chan error)
			go func() { _, err := e.Do(ctx, insert(1)); failed <- err }()
			until(m.Holding)
			cancel(why)
			return <-failed
		}, why, batch.Maybe},
		"a panic in a rule": {func(e *engine, _ *batchtest.Memory) error {
			c := insert(1)
			c.Panics = true
			_, err := e.Do(t.Context(), c)
			return err
		}, batch.ErrPanic, batch.No},
		"a closed engine": {func(e *engine, _ *batchtest.Memory) error {
			_ = e.Close(t.Context())
			_, err := e.Submit(t.Context(), insert(1)).Wait(t.Context())
			return err
		}, batch.ErrClosed, batch.No},
		"a full queue": {func(e *engine, m *batchtest.Memory) error {
			release := m.Hold()
			defer release()
			e.Submit(t.Context(), insert(1))
			until(m.Holding)
			e.Submit(t.Context(), insert(2))
			e.Submit(t.Context(), insert(3))
			_, err := e.Do(t.Context(), insert(4))
			return err
		}, batch.ErrFull, batch.No},
	} {
		t.Run(name, func(t *testing.T) {
			m := batchtest.NewMemory(batchtest.Ways{})
			e := newEngine(t, m, batch.Options{Queue: 2, Full: batch.Fail})
			err := test.do(e, m)
			if !errors.Is(err, test.is) || batch.ExecutedOf(err) != test.executed {
				t.Errorf("error %v, executed: %v; want %v, %v", err, batch.ExecutedOf(err), test.is, test.executed)
			}
		})
	}
}

func TestFutureMayBeWaitedForAgain(t *testing.T) {
	m := batchtest.NewMemory(batchtest.Ways{})
	e := newEngine(t, m, batch.Options{})
	release := m.Hold()
	f := e.Submit(t.Context(), insert(1))
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.Wait(ended); batch.ExecutedOf(err) != batch.Maybe || !errors.Is(err, context.Canceled) {
		t.Errorf("a wait whose context has ended: %v", err)
	}
	release()
	<-f.Done()
	if r, err := f.Wait(ended); err != nil || r.Affected != 1 {
		t.Errorf("the outcome is %+v, %v", r, err)
	}
}

func TestFlushWaitsForWhatWasBefore(t *testing.T) {
	m := batchtest.NewMemory(batchtest.Ways{})
	e := newEngine(t, m, batch.Options{MaxRows: 3})
	var futures []*batch.Future[result]
	for i := range 50 {
		futures = append(futures, e.Submit(t.Context(), insert(i+1)))
	}
	if err := e.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i, f := range futures {
		select {
		case <-f.Done():
		default:
			t.Errorf("command %d has no outcome after Flush", i)
		}
	}
}

func TestCloseWithAnEndedContextLeavesNobodyWaiting(t *testing.T) {
	m := batchtest.NewMemory(batchtest.Ways{})
	e := batch.New(m, batchtest.Rules(), batch.Options{MaxRows: 2, Queue: 4})
	release := m.Hold()
	defer release()
	var wg sync.WaitGroup
	var executed [3]atomic.Int64
	for i := range 10 {
		wg.Go(func() {
			_, err := e.Do(t.Context(), insert(i+1))
			executed[batch.ExecutedOf(err)].Add(1)
			if !errors.Is(err, batch.ErrClosed) {
				t.Errorf("command %d: %v", i, err)
			}
		})
	}
	until(func() bool { return m.Holding() && e.Stats().Waiting >= 8 })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := e.Close(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Close: %v", err)
	}
	wg.Wait()
	if list, _ := m.State(); len(list) != 0 || executed[batch.No].Load() != 10 {
		t.Errorf("%d were executed; callers were told %v", len(list), &executed)
	}
}

func TestManyWhoSubmitDoNotPassOneWhoWaits(t *testing.T) {
	m := batchtest.NewMemory(batchtest.Ways{})
	e := newEngine(t, m, batch.Options{Queue: 16, MaxRows: 16})
	release := m.Hold()
	e.Submit(t.Context(), insert(1))
	until(m.Holding)
	var wg sync.WaitGroup
	submit := func(first int) {
		for caller := range 8 {
			wg.Go(func() {
				for i := range 20 {
					e.Submit(t.Context(), insert(first+caller*20+i)) // blocks from the 17th on
				}
			})
		}
	}
	submit(100)
	until(func() bool { return e.Stats().Waiting == 24 })
	one := make(chan error)
	go func() { _, err := e.Do(t.Context(), insert(2)); one <- err }()
	until(func() bool { return e.Stats().Waiting == 25 })
	release()
	if err := <-one; err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	if err := e.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	executed, _ := m.State()
	if at := slices.Index(executed, 2); len(executed) != 162 || at > 1+16+16 { // it is in the second flush after the held one
		t.Errorf("of %d commands it was the %dth", len(executed), at)
	}
}

func TestLingerGathers(t *testing.T) {
	m := batchtest.NewMemory(batchtest.Ways{})
	e := newEngine(t, m, batch.Options{Linger: time.Hour, MaxRows: 10})
	var wg sync.WaitGroup
	for i := range 10 {
		wg.Go(func() {
			if _, err := e.Do(t.Context(), insert(i+1)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if s := e.Stats(); s.Commits != 1 {
		t.Errorf("ten commands were %d flushes", s.Commits)
	}
}

func TestGetFollowsCommits(t *testing.T) {
	m := batchtest.NewMemory(batchtest.Ways{})
	e := newEngine(t, m, batch.Options{Cache: 10})
	read := command{ID: 100, Op: batchtest.Select, Key: "k1"}
	get := func() int64 {
		r, err := e.Get(t.Context(), read)
		if err != nil {
			t.Fatal(err)
		}
		return r.Value
	}
	if _, err := e.Do(t.Context(), insert(1)); err != nil {
		t.Fatal(err)
	}
	get()
	trips := m.Trips()
	if get() != 1 || m.Trips() != trips || e.Stats().Cached != 1 {
		t.Error("the second read was not answered from memory")
	}
	release := m.Hold()
	f := e.Submit(t.Context(), command{ID: 2, Op: batchtest.Update, Key: "k1", Value: 7})
	until(m.Holding)
	if get() != 1 {
		t.Error("a read sees what is not committed")
	}
	ordered := batch.Ordered(t.Context())
	release()
	<-f.Done()
	if get() != 7 {
		t.Error("a read does not see what is committed")
	}
	e.Submit(ordered, command{ID: 3, Op: batchtest.Update, Key: "k1", Value: 8})
	if r, err := e.Get(ordered, read); err != nil || r.Value != 8 {
		t.Errorf("a read does not see what its own stream has handed in: %+v, %v", r, err)
	}
	if err := e.Interact(t.Context(), func(_ context.Context, tx any) error {
		_, err := tx.(batchtest.Execer)(command{ID: 4, Op: batchtest.Update, Key: "k1", Value: 9})
		return err
	}, nil); err != nil {
		t.Fatal(err)
	}
	if get() != 9 {
		t.Error("a read does not see what an interaction has done")
	}
}

func TestALongInteractionRunsAgainAlone(t *testing.T) {
	m := batchtest.NewMemory(batchtest.Ways{})
	e := newEngine(t, m, batch.Options{Budget: time.Millisecond})
	release := m.Hold()
	first := e.Submit(t.Context(), insert(1))
	until(m.Holding)
	var limits, undone []bool
	done := make(chan error)
	go func() {
		done <- e.Interact(t.Context(), func(ctx context.Context, tx any) error {
			_, limited := ctx.Deadline()
			limits = append(limits, limited)
			if limited {
				<-ctx.Done()
			}
			_, err := tx.(batchtest.Execer)(insert(2))
			return err
		}, func(attempt int, cause error) { undone = append(undone, attempt == len(limits) && cause != nil) })
	}()
	until(func() bool { return e.Stats().Waiting == 1 })
	second := e.Submit(t.Context(), insert(3))
	release()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	_, err1 := first.Wait(t.Context())
	_, err2 := second.Wait(t.Context())
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	if executed, _ := m.State(); fmt.Sprint(executed, limits, undone) != "[1 2 3] [true false] [true]" {
		t.Errorf("executed %v; with limits %v, undone %v", executed, limits, undone)
	}
}

// none is a driver that does nothing, and allocates nothing.
type none struct{ batch.Tx[int, int] }

func (n *none) Begin(context.Context, uint64) (batch.Tx[int, int], error) { return n, nil }
func (*none) Settle(context.Context, uint64) (bool, error)                { return true, nil }
func (*none) Class(error) batch.Class                                     { return batch.Row }
func (*none) Close(context.Context) error                                 { return nil }
func (*none) Run(_ context.Context, steps []batch.Step[int, int], _ bool) (int, int, error) {
	for _, s := range steps {
		copy(s.Res, s.Cmds)
	}
	return 0, 0, nil
}
func (*none) Alive() bool                  { return true }
func (*none) Commit(context.Context) error { return nil }
func (*none) Rollback(context.Context)     {}

var numbers = batch.Rules[int, int, string, int]{
	Group: func(n int) string { return []string{"even", "odd"}[n%2] },
	Key:   func(n int) (int, bool) { return n, true },
}

func TestCommandsAllocateNothing(t *testing.T) {
	e := batch.New(&none{}, numbers, batch.Options{})
	defer e.Close(t.Context())
	n := 0
	do := func() {
		n++
		if r, err := e.Do(t.Context(), n); r != n || err != nil {
			t.Fatal(r, err)
		}
	}
	for range 1000 {
		do()
	}
	if a := testing.AllocsPerRun(10000, do); a >= 1 {
		t.Errorf("a command allocates %v times", a)
	}
}

// BenchmarkDo is the cost of a command with a driver that does nothing: both ends, and the wake-ups.
func BenchmarkDo(b *testing.B) {
	for _, callers := range []int{1, 64, 1000} {
		b.Run(fmt.Sprint("callers=", callers), func(b *testing.B) {
			e := batch.New(&none{}, numbers, batch.Options{})
			defer e.Close(b.Context())
			b.ReportAllocs()
			var left atomic.Int64
			left.Store(int64(b.N))
			var wg sync.WaitGroup
			for range callers {
				wg.Go(func() {
					for n := left.Add(-1); n >= 0; n = left.Add(-1) {
						if _, err := e.Do(b.Context(), int(n)); err != nil {
							b.Error(err)
						}
					}
				})
			}
			wg.Wait()
		})
	}
}

func TestPostTellsEachOutcomeOnce(t *testing.T) {
	m := batchtest.NewMemory(batchtest.Ways{})
	e := batch.New(m, batchtest.Rules(), batch.Options{})
	told := make(chan error, 3)
	post := func(ctx context.Context, c batchtest.Command) {
		e.Post(ctx, c, func(_ batchtest.Command, _ batchtest.Result, err error) { told <- err })
	}
	post(t.Context(), batchtest.Command{ID: 1, Op: batchtest.Insert, Key: "a", Value: 1})
	if err := <-told; err != nil {
		t.Error(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	post(ended, batchtest.Command{ID: 2, Op: batchtest.Insert, Key: "b", Value: 1})
	if err := <-told; !errors.Is(err, context.Canceled) || batch.ExecutedOf(err) != batch.No {
		t.Error(err)
	}
	if err := e.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	post(t.Context(), batchtest.Command{ID: 3, Op: batchtest.Insert, Key: "c", Value: 1})
	if err := <-told; !errors.Is(err, batch.ErrClosed) || len(told) > 0 {
		t.Error(err)
	}
}
