// Package parallel runs a function in several processes that share memory: a leader starts workers, hands each an
// argument, waits, and gets their errors.
//
//	var count = parallel.Register("count", func(ctx context.Context, w *parallel.Worker, arg Job) error { ... })
//
//	func main() {
//		parallel.Main() // in a worker this runs the function and never returns
//		...
//		err := count.Run(ctx, session, 4, Job{Segment: seg.Handle()})
//	}
//
// Workers are new processes of the same program, not forks: what they share is what the argument names, a handle above
// all. Functions are known by name; the argument travels as JSON. A worker ends with its leader, however
// that ends.
//
// It does not hand out work in pieces or start a worker again that died: what a dead one left half-done is the caller's
// to know.
package parallel

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/resowner"
)

// Worker is what a function knows of its place.
type Worker struct {
	Index   int             // from 0 to Count-1
	Count   int             // how many run
	Session *dsm.Session    // this process's own
	Owner   *resowner.Owner // ends when the function returns
}

// Task is a function that workers can run.
type Task[A any] struct {
	name string
	run  task
}

// task is a Task whose argument is JSON still. It is so for a leader that does the work itself too, lest the argument differ.
type task func(context.Context, *Worker, json.RawMessage) error

// registered are the tasks by name, with their argument still as JSON.
var (
	registeredMu sync.Mutex
	registered   = map[string]task{}
)

// Register makes f known to workers under a name. Leader and workers must register the same names, so call it for a package
// variable. A name taken twice panics.
func Register[A any](name string, f func(ctx context.Context, w *Worker, arg A) error) *Task[A] {
	registeredMu.Lock()
	defer registeredMu.Unlock()
	if registered[name] != nil {
		panic(fmt.Sprintf("parallel: two tasks are named %q", name))
	}
	run := func(ctx context.Context, w *Worker, raw json.RawMessage) error {
		var arg A
		if err := json.Unmarshal(raw, &arg); err != nil {
			return fmt.Errorf("the argument of task %q: %w", name, err)
		}
		return f(ctx, w, arg)
	}
	registered[name] = run
	return &Task[A]{name, run}
}

// Error is what became of one worker.
type Error struct {
	Worker int
	Text   string    // the error's own, or how the process ended
	Signal os.Signal // that killed the process; nil if none did
	kind   error
}

// Unwrap is the kind of failure that package dsm has a name for, nil otherwise: of a worker's error nothing else crosses over.
func (e *Error) Unwrap() error { return e.kind }

func (e *Error) Error() string { return fmt.Sprintf("worker %d: %s", e.Worker, e.Text) }

// How long workers have to end after they were told to, before they are killed, and after their leader's death,
// before they end themselves.
const (
	grace       = 2 * time.Second
	orphanGrace = time.Second
)

// Run runs the task in so many worker processes, each a session of session's instance, and waits for all. It returns their errors, joined, each an
// *Error; when one fails, or ctx is over, the contexts of the others are cancelled. A worker that finds no row in the
// process table does not take part; with none at all, or if workers is 0, the caller does the work itself, as the one
// Worker of its own session. Workers that have not ended 2 s after they were cancelled are killed.
func (t *Task[A]) Run(ctx context.Context, session *dsm.Session, workers int, arg A) error {
	if _, worker := os.LookupEnv(ticketVariable); worker {
		return errors.New("parallel: this process was started as a worker: call parallel.Main at the top of main and TestMain")
	}
	if workers < 0 {
		return fmt.Errorf("parallel: %d workers", workers)
	}
	raw, err := json.Marshal(arg)
	if err != nil {
		return fmt.Errorf("parallel: the argument of task %q: %w", t.name, err)
	}
	c := &crew{task: t.name, arg: raw}
	if err := c.hire(ctx, session, workers); err != nil {
		c.dismiss()
		return err
	}
	if len(c.members) == 0 {
		return runHere(ctx, session, func(ctx context.Context, w *Worker) error { return t.run(ctx, w, raw) })
	}
	return c.work(ctx)
}

// runHere is for a leader without workers.
func runHere(ctx context.Context, session *dsm.Session, f func(context.Context, *Worker) error) (err error) {
	owner, err := session.Owner().Child("parallel")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, owner.Abort()) }()
	return f(ctx, &Worker{Index: 0, Count: 1, Session: session, Owner: owner})
}
