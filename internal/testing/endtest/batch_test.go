package endtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/godsm/godsm/batch"
	"github.com/godsm/godsm/batch/batchtest"
	"github.com/godsm/godsm/batch/shared"
	"github.com/godsm/godsm/registry"
)

// queue is one of package batch/shared over a database in this process.
type queue = shared.Queue[batchtest.Command, batchtest.Result]

// oneLeader is a driver for a database that no other process has.
type oneLeader struct {
	batch.Driver[batchtest.Command, batchtest.Result]
}

func (oneLeader) Lead(context.Context, string, uint64, string) (by, flush uint64, err error) {
	return 0, 0, nil
}

func (oneLeader) Backend() string { return "" }

func coded[T any]() shared.Codec[T] {
	return shared.Codec[T]{
		Append: func(b []byte, v T) ([]byte, error) {
			text, err := json.Marshal(v)
			return append(b, text...), err
		},
		Parse: func(b []byte) (v T, err error) {
			err = json.Unmarshal(b, &v)
			return v, err
		},
	}
}

// openQueue opens the queue of a name. The session leads it.
func (w *world) openQueue(name string) (*queue, error) {
	return w.openQueueWith(name, coded[batchtest.Command]())
}

func (w *world) openQueueWith(name string, commands shared.Codec[batchtest.Command]) (*queue, error) {
	db := oneLeader{batchtest.NewMemory(batchtest.Ways{})}
	return shared.Open(ctx, w.s, name, commands, coded[batchtest.Result](), batchtest.Rules(),
		func() (batch.Driver[batchtest.Command, batchtest.Result], error) { return db, nil },
		shared.Options{Slots: 64})
}

// inQueue hands f a queue of its own.
func (w *world) inQueue(f func(q *queue) error) error {
	name := fmt.Sprint("end queue ", serial.Add(1))
	q, err := w.openQueue(name)
	if err != nil {
		return err
	}
	return errors.Join(f(q), q.Close(ctx), registry.Delete(ctx, w.s, name))
}

// put is a command that can be executed any number of times.
func put(i int) batchtest.Command {
	return batchtest.Command{ID: int(serial.Add(1)), Op: batchtest.Add, Key: fmt.Sprint("absent ", i), Value: 1}
}

// unlessRow returns an error of the queue's, and nil for one of the database's, which has no such row.
func unlessRow(err error) error {
	if e, is := errors.AsType[*batch.Error](err); is && e.Class == batch.Row {
		return nil
	}
	return err
}

// throughCodec hands a command to a queue whose codec calls f, in Append or, by the leader, in Parse.
func throughCodec(w *world, f func() error, inAppend bool) error {
	c := coded[batchtest.Command]()
	if appendTo, parse := c.Append, c.Parse; inAppend {
		c.Append = func(b []byte, v batchtest.Command) ([]byte, error) {
			if err := f(); err != nil {
				return nil, err
			}
			return appendTo(b, v)
		}
	} else {
		c.Parse = func(b []byte) (v batchtest.Command, err error) {
			if err := f(); err != nil {
				return v, err
			}
			return parse(b)
		}
	}
	q, err := w.openQueueWith(fmt.Sprint("end queue ", serial.Add(1)), c)
	if err != nil {
		return err
	}
	_, err = q.Do(ctx, batchtest.Command{ID: 1, Op: batchtest.Insert, Key: "a", Value: 1})
	return errors.Join(err, q.Close(ctx))
}

var usesOfBatch = map[string]use{
	"shared.Open": func(w *world, i int) error { return w.inQueue(func(*queue) error { return nil }) },
	"shared.Queue.Do": func(w *world, i int) error {
		_, err := w.batch.Do(ctx, put(i))
		return unlessRow(err)
	},
	"shared.Queue.Submit": func(w *world, i int) error {
		_, err := w.batch.Submit(ctx, put(i)).Wait(ctx)
		return unlessRow(err)
	},
	"shared.Future.Wait": func(w *world, i int) error {
		_, err := w.batch.Submit(ctx, put(i)).Wait(ctx)
		return unlessRow(err)
	},
	"shared.Future.Done": func(w *world, i int) error { <-w.batch.Submit(ctx, put(i)).Done(); return nil },
	"shared.Queue.Close": func(w *world, i int) error {
		return w.inQueue(func(q *queue) error {
			_, err := q.Do(ctx, put(i))
			return errors.Join(unlessRow(err), q.Close(ctx))
		})
	},
	"shared.Queue.Leads": func(w *world, i int) error { _ = w.batch.Leads(); return nil },
	"shared.Queue.Stats": func(w *world, i int) error { _, err := w.batch.Stats(); return err },
}
