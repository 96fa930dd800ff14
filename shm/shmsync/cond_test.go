package shmsync_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/godsm/godsm/internal/testing/proctest"
	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/shmsync"
)

func init() { proctest.Register("consumer", consumerHelper) }

func TestCond(t *testing.T) {
	var c shmsync.Cond
	ticket := c.Prepare()
	c.Signal()
	if err := ticket.Sleep(ctx); err != nil { // signalled between Prepare and Sleep
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(ctx, 3*time.Millisecond)
	defer cancel()
	for err := error(nil); err == nil; { // it may return early
		if err = ticket.Sleep(short); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	}
	c.Broadcast()
	if err := ticket.Sleep(short); err != nil {
		t.Errorf("news loses against a context that is over: %v", err)
	}
	ticket.Cancel()
	c.Signal() // to no process
	later := c.Prepare()
	if err := later.Sleep(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("signalled before Prepare: %v", err)
	}
	later.Cancel()
}

// TestCondPassesOn: a signal that came for one who gives up goes to another.
func TestCondPassesOn(t *testing.T) {
	var c shmsync.Cond
	first := c.Prepare()
	c.Signal()
	second := c.Prepare()
	first.Cancel()
	done := make(chan error)
	go func() { done <- second.Sleep(ctx) }()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// waitUntil is the loop that users write.
func waitUntil(ctx context.Context, c *shmsync.Cond, ready func() bool) (err error) {
	t := c.Prepare()
	defer t.Cancel()
	for !ready() && err == nil {
		err = t.Sleep(ctx)
	}
	return err
}

// TestCondEachSignalOneItem: as many signals as items; no process waits on while there is one.
func TestCondEachSignalOneItem(t *testing.T) {
	var c, taken shmsync.Cond
	var items, consumed atomic.Int64
	const n, consumers = 20000, 10
	var wg sync.WaitGroup
	for range consumers {
		wg.Go(func() {
			for {
				var got int64
				err := waitUntil(ctx, &c, func() bool {
					got = items.Load()
					return got < 0 || got > 0 && items.CompareAndSwap(got, got-1)
				})
				if err != nil || got < 0 {
					if err != nil {
						t.Error(err)
					}
					return
				}
				consumed.Add(1)
				taken.Signal()
			}
		})
	}
	for range n {
		items.Add(1)
		c.Signal()
	}
	if err := waitUntil(ctx, &taken, func() bool { return consumed.Load() == n }); err != nil {
		t.Fatal(err)
	}
	items.Store(-1)
	c.Broadcast()
	wg.Wait()
}

// consumerHelper takes items for ever; each is one that it found, and counted before it was killed or not at all.
func consumerHelper(c *proctest.Child) error {
	s, _, _, err := onStage(c)
	if err != nil {
		return err
	}
	items, consumed := &s.Numbers[0], &s.Numbers[1]
	c.Say("ready")
	errs := make(chan error)
	for range 4 {
		go func() {
			errs <- func() error {
				for {
					var n uint64
					if err := waitUntil(ctx, &s.Cond,
						func() bool { n = consumed.Load(); return n < items.Load() }); err != nil {
						return err
					}
					consumed.CompareAndSwap(n, n+1)
				}
			}()
		}()
	}
	return <-errs
}

// TestCondDeadWaiters: waiters are killed in their sleep or with a signal in their hands; the others get on with it.
func TestCondDeadWaiters(t *testing.T) {
	dir, s, _ := newStage(t)
	procs := []*proctest.Process{
		startOnStage(t, "consumer", dir, 1),
		startOnStage(t, "consumer", dir, 2),
		startOnStage(t, "consumer", dir, 3),
	}
	items, consumed := &s.Numbers[0], &s.Numbers[1]
	for kill := range kills(40) {
		for range 50 {
			items.Add(1)
			s.Cond.Signal()
			for kill%2 == 0 && consumed.Load() < items.Load() { // so that they fall asleep
				runtime.Gosched()
			}
		}
		for consumed.Load() < items.Load() {
			runtime.Gosched()
		}
		i := kill % len(procs)
		procs[i].Kill()
		items.Add(1)
		s.Cond.Signal()
		for consumed.Load() < items.Load() {
			runtime.Gosched()
		}
		procs[i] = startOnStage(t, "consumer", dir, i+1)
	}
}

func TestZeroTicket(t *testing.T) {
	var k shmsync.Ticket
	if err := k.Sleep(ctx); !errors.Is(err, shm.ErrClosed) {
		t.Errorf("Sleep = %v", err)
	}
	k.Cancel()
}
