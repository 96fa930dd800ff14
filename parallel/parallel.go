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
// Run is for work that ends. Start is for servers: a Set of workers that inherit the listeners (Options.Files), say when
// they are ready, and are replaced by another Set without losing a connection.
//
// What workers have to say comes back: errors, results, progress, and their log through the leader's
// logger. Map shares a slice out in pieces. What a worker that died left half-done is the caller's to know.
package parallel

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/errkind"
)

// Options say how a task is run. The zero value is the leader alone.
type Options struct {
	Workers int

	// Retries is how many workers that die may be replaced, in all. The new one begins anew with
	// the same Index, while the others go on: for tasks that bear being done twice, results and
	// all. An error that a function returns is no death.
	Retries int

	// Result and Progress are called in the leader, one at a time. The bytes are valid until Result returns. An
	// error of Result ends the run.
	Result   func(worker int, b []byte) error
	Progress func(worker int, done, total int64)

	// Files are inherited by each worker, also by one that replaces another: listeners above all, by their method
	// File. They stay the caller's. ErrUnsupported on Windows.
	Files []*os.File

	// Grace is how long workers have to end after they were cancelled, before they are killed; 0 is 2 s. For a Set it is
	// the time to drain: to answer what has begun.
	Grace time.Duration

	// Hello is how long a new process has to call Main, before it is taken for one of a program that does not, and
	// killed; 0 is 5 s. It is to be more where much is done before main, or in TestMain before Main.
	Hello time.Duration
}

// Task is a function that workers can run.
type Task[A any] struct {
	name string
	run  task
}

// task is a Task's function, with its argument still as JSON. A leader that does the work itself
// decodes it too, so that its argument is the same as a worker's.
type task func(context.Context, *Worker, json.RawMessage) error

// registered are the tasks by name.
var (
	registeredMu sync.Mutex
	registered   = map[string]task{}
)

// Register makes f known to workers under a name. Leader and workers must register the same
// names, so call it for a package variable. A name taken twice panics, and so does a nil f.
func Register[A any](name string, f func(ctx context.Context, w *Worker, arg A) error) *Task[A] {
	if f == nil {
		panic(fmt.Sprintf("parallel: task %q has no function", name))
	}
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

// Error is what became of one worker. Of a text of more than 16 KiB it has the beginning and the end.
type Error struct {
	Worker int
	Text   string    // the error's own, or how the process ended
	Signal os.Signal // that killed the process; nil if none did
	kind   error
	died   bool
}

// Unwrap returns the kind of failure that package dsm has a name for, nil otherwise: of a worker's
// error nothing else crosses over.
func (e *Error) Unwrap() error { return e.kind }

func (e *Error) Error() string { return fmt.Sprintf("worker %d: %s", e.Worker, e.Text) }

// The options' zero values, and how long workers have to end after their leader's death before they end themselves.
const (
	defaultGrace = 2 * time.Second
	defaultHello = 5 * time.Second
	orphanGrace  = time.Second
)

// Run runs the task in so many worker processes, each a session of session's instance, and waits
// for all. It returns their errors, joined, each an *Error; when one fails, or ctx is over, or the session ends, the
// contexts of the others are cancelled. A worker that finds no row in the process table does not
// take part; with none at all, or if workers is 0, the caller does the work itself, as the one
// Worker of its own session. Workers that have not ended 2 s after they were cancelled (Options.Grace) are killed.
//
// A worker is in a process group of its own: what a terminal sends by Ctrl-C goes to the leader alone, which decides
// whether to end ctx, or to let the workers finish.
//
// The function, Options.Result, Options.Progress and the logger may end in any way. A panic in one of them, and
// runtime.Goexit, which t.FailNow calls, is an error that names it. A worker's function may close its session; Send is
// ErrClosed then. Run does not return while one of them runs in this process.
func (t *Task[A]) Run(ctx context.Context, session *dsm.Session, workers int, arg A) error {
	return t.RunWith(ctx, session, Options{Workers: workers}, arg)
}

// RunWith is Run with options.
func (t *Task[A]) RunWith(ctx context.Context, session *dsm.Session, o Options, arg A) error {
	return t.execute(ctx, session, o, arg, func(_, _ int) {})
}

// execute does what RunWith does. Ready is called for each worker that says that it is ready, with the count of workers.
func (t *Task[A]) execute(ctx context.Context, session *dsm.Session, o Options, arg A,
	ready func(worker, count int)) (err error) {
	if _, worker := os.LookupEnv(ticketVariable); worker {
		return errors.New("parallel: this process was started as a worker: call parallel.Main at " +
			"the top of main and TestMain")
	}
	if t == nil || t.run == nil {
		return errors.New("parallel: the zero Task has no function: Register makes one")
	}
	if session == nil {
		return errors.New("parallel: no session: name the one whose instance the workers join")
	}
	if o.Workers < 0 || o.Retries < 0 || o.Grace < 0 || o.Hello < 0 {
		return errkind.As(fs.ErrInvalid, fmt.Errorf("parallel: %d workers, %d retries, %v of grace, %v for a hello: none may be negative",
			o.Workers, o.Retries, o.Grace, o.Hello))
	}
	if err := checkFiles(o.Files); err != nil {
		return err
	}
	o.Grace, o.Hello = cmp.Or(o.Grace, defaultGrace), cmp.Or(o.Hello, defaultHello)
	raw, err := json.Marshal(arg)
	if err != nil {
		return fmt.Errorf("parallel: the argument of task %q: %w", t.name, err)
	}
	owner, err := session.Owner().Child("parallel")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, owner.Abort()) }()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-session.Done():
			cancel(fmt.Errorf("parallel: the leader's session has ended: %w", session.Err()))
		case <-ctx.Done():
		}
	}()
	c := &crew{task: t.name, arg: raw, session: session, owner: owner, options: o, ready: ready}
	defer c.endSession()
	if c.members, err = c.startWorkers(ctx, 0, o.Workers); err != nil {
		dismissAll(c.members)
		return err
	}
	if len(c.members) > 0 {
		return c.runParts(ctx)
	}
	return c.runAlone(ctx, cancel, t.run)
}

// Main is called at the top of main, and of TestMain, by every program that starts workers. In a
// process that was started as one it runs the task and never returns; in any other it does nothing.
func Main() {
	text, ok := os.LookupEnv(ticketVariable)
	if !ok {
		return
	}
	os.Unsetenv(ticketVariable)
	t, err := parseTicket(text)
	if err == nil {
		err = serveLeader(t)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: worker: %v\n", filepath.Base(os.Args[0]), err)
		os.Exit(1)
	}
	os.Exit(0)
}
