package batch_test

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"testing"

	"github.com/godsm/godsm/batch"
	"github.com/godsm/godsm/batch/batchtest"
)

// TestPostAllIsOneFlush hands in many commands at once, and many more than the queue has room for.
func TestPostAllIsOneFlush(t *testing.T) {
	for _, test := range []struct {
		name     string
		commands int
		options  batch.Options
		most     uint64 // flushes
	}{
		{"with room", 500, batch.Options{}, 1},
		{"without room", 500, batch.Options{Queue: 10}, 500},
		{"more than a flush takes", 500, batch.Options{MaxRows: 100}, 5},
	} {
		t.Run(test.name, func(t *testing.T) {
			e := batch.New(batchtest.NewMemory(batchtest.Ways{}), batchtest.Rules(), test.options)
			cmds := make([]batchtest.Command, test.commands)
			for i := range cmds {
				cmds[i] = batchtest.Command{ID: i + 1, Op: batchtest.Insert, Key: fmt.Sprint("k", i), Value: 1}
			}
			var told sync.WaitGroup
			told.Add(len(cmds))
			e.PostAll(t.Context(), cmds, func(c batchtest.Command, _ batchtest.Result, err error) {
				if err != nil {
					t.Errorf("%v: %v", c, err)
				}
				told.Done()
			})
			told.Wait()
			if err := e.Close(context.Background()); err != nil {
				t.Error(err)
			}
			if s := e.Stats(); s.Commands != uint64(len(cmds)) || s.Commits > test.most {
				t.Errorf("%d commands in %d flushes", s.Commands, s.Commits)
			}
		})
	}
}

// TestPostAllAgainAndAgain has callers hand in more than the queue takes, and again as soon as they are refused, at once: the
// others' commands are flushed all the same, and Close ends.
func TestPostAllAgainAndAgain(t *testing.T) {
	e := batch.New(batchtest.NewMemory(batchtest.Ways{}), batchtest.Rules(), batch.Options{Queue: 4, Full: batch.Fail})
	cmds := make([]batchtest.Command, 8)
	for i := range cmds {
		cmds[i] = batchtest.Command{Op: batchtest.Upsert, Key: fmt.Sprint("k", i), Value: 1}
	}
	over, stop := context.WithCancel(t.Context())
	var callers sync.WaitGroup
	for range 8 {
		callers.Go(func() {
			for over.Err() == nil {
				e.PostAll(t.Context(), cmds, func(batchtest.Command, batchtest.Result, error) {})
			}
		})
	}
	for s := e.Stats(); s.Commits < 20; s = e.Stats() {
		runtime.Gosched()
	}
	stop()
	callers.Wait()
	if err := e.Close(context.Background()); err != nil {
		t.Error(err)
	}
}

// TestPostAllWhoseToldPanics has the function that PostAll calls for a refusal panic.
func TestPostAllWhoseToldPanics(t *testing.T) {
	e := batch.New(batchtest.NewMemory(batchtest.Ways{}), batchtest.Rules(), batch.Options{})
	over, stop := context.WithCancel(t.Context())
	stop()
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic has not reached the caller")
			}
		}()
		e.PostAll(over, make([]batchtest.Command, 1), func(batchtest.Command, batchtest.Result, error) { panic("as told") })
	}()
	if _, err := e.Do(t.Context(), batchtest.Command{ID: 1, Op: batchtest.Insert, Key: "a", Value: 1}); err != nil {
		t.Error(err)
	}
	if err := e.Close(context.Background()); err != nil {
		t.Error(err)
	}
}
