package batch_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/godsm/godsm/batch"
	"github.com/godsm/godsm/batch/batchtest"
)

// fragile is a database whose connections are ended from outside.
type fragile struct {
	batch.Driver[batchtest.Command, batchtest.Result]
	ends int // the next so many connections end, with whatever they are used for
	lost int // connections that were
}

var errEnded = errors.New("the connection was ended from outside")

func (d *fragile) Begin(ctx context.Context, flush uint64) (batch.Tx[batchtest.Command, batchtest.Result], error) {
	tx, err := d.Driver.Begin(ctx, flush)
	return &fragileTx{tx, d}, err
}

func (d *fragile) Class(err error) batch.Class {
	if errors.Is(err, errEnded) {
		return batch.Lost
	}
	return d.Driver.Class(err)
}

type fragileTx struct {
	batch.Tx[batchtest.Command, batchtest.Result]
	d *fragile
}

func (t *fragileTx) end() error {
	if t.d.ends == 0 {
		return nil
	}
	t.d.ends--
	t.d.lost++
	return errEnded
}

func (t *fragileTx) Run(ctx context.Context, steps []batch.Step[batchtest.Command, batchtest.Result], guard bool) (int, int, error) {
	if err := t.end(); err != nil {
		return 0, len(steps[0].Cmds), err
	}
	return t.Tx.Run(ctx, steps, guard)
}

func (t *fragileTx) Interact(ctx context.Context, do func(context.Context, any) error) error {
	if err := t.end(); err != nil {
		return err
	}
	return t.Tx.Interact(ctx, do)
}

// TestConnectionsEndedFromOutsideMakeNoPoison ends connections whatever they are used for: that is held against no command.
func TestConnectionsEndedFromOutsideMakeNoPoison(t *testing.T) {
	for _, ends := range []int{1, 2, 3, 50} {
		d := &fragile{Driver: batchtest.NewMemory(batchtest.Ways{}), ends: ends}
		e := batch.New[batchtest.Command, batchtest.Result](d, batchtest.Rules(), batch.Options{Budget: time.Hour})
		if _, err := e.Do(t.Context(), batchtest.Command{ID: 1, Op: batchtest.Insert, Key: "a"}); err != nil {
			t.Errorf("%d connections ended: %v", ends, err)
		}
		if err := e.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if d.lost != ends {
			t.Errorf("%d connections of %d were lost", d.lost, ends)
		}
	}
}

// TestPoisonTakesFewConnections counts the connections that a command takes with it until it fails: alone, and among others.
func TestPoisonTakesFewConnections(t *testing.T) {
	for _, test := range []struct{ good, most int }{{0, 2}, {99, 9}, {999, 12}} {
		d := batchtest.NewMemory(batchtest.Ways{})
		e := batch.New[batchtest.Command, batchtest.Result](d, batchtest.Rules(), batch.Options{Budget: time.Hour})
		running, release := make(chan struct{}), make(chan struct{})
		go func() {
			_ = e.Interact(t.Context(), func(context.Context, any) error { close(running); <-release; return nil }, nil)
		}()
		<-running
		futures := make([]*batch.Future[batchtest.Result], test.good+1)
		for i := range futures {
			c := batchtest.Command{ID: i, Op: batchtest.Insert, Key: string(rune('0' + i))}
			if i == test.good*2/3 {
				c.Value = batchtest.Kills
			}
			futures[i] = e.Submit(t.Context(), c)
		}
		close(release)
		for i, f := range futures {
			if _, err := f.Wait(t.Context()); (i == test.good*2/3) != errors.Is(err, batch.ErrPoison) || err != nil && batch.ExecutedOf(err) != batch.No {
				t.Errorf("%d good ones: command %d: %v", test.good, i, err)
			}
		}
		if n := e.Stats().Lost; n > uint64(test.most) {
			t.Errorf("%d good ones: %d connections were lost, at most %d were to be", test.good, n, test.most)
		} else {
			t.Logf("%d good ones: %d connections were lost", test.good, n)
		}
		if err := e.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// TestPoisonIsFoundAmongTransientErrors has a database that is often busy, also while a connection is watched: that says nothing about
// the connection.
func TestPoisonIsFoundAmongTransientErrors(t *testing.T) {
	d := batchtest.WithFaults(batchtest.NewMemory(batchtest.Ways{}), batchtest.Faults{Seed: 1, Busy: 0.2, Deadlock: 0.1})
	e := batch.New(d, batchtest.Rules(), batch.Options{})
	_, err := e.Do(t.Context(), batchtest.Command{ID: 1, Op: batchtest.Insert, Key: "a", Value: batchtest.Kills})
	if !errors.Is(err, batch.ErrPoison) {
		t.Error(err)
	}
	if n := e.Stats().Lost; n != 2 {
		t.Errorf("%d connections were lost", n)
	}
	if err := e.Close(t.Context()); err != nil {
		t.Error(err)
	}
}
