// Package chaos is the proof by violence: processes create, attach, pin, detach, lock and write checksummed data, while
// a monkey kills and stops them at random, and their supervisor too. At the end everything must be accounted for.
//
// It adds nothing to what the library does; it knows it from outside. A run is a process that joins as a session
// of its own, which the monkey spares, so that the instance outlives any massacre. What it looks at: the books, read without
// a lock; the witnesses, through descriptors of its own; the system, by internal/objectlist.
//
// The same seed gives the same decisions of the monkey, and the same of each worker process as long as it
// meets the same answers. What a blow hits is up to the scheduler, so a run can't be repeated step by step.
package chaos

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/instance"
	"github.com/godsm/godsm/internal/objectlist"
	"github.com/google/uuid"
)

// Options say what a run does.
type Options struct {
	Duration time.Duration
	Workers  int
	Seed     uint64
	Sabotage string   // object, byte, row or stuck: do that wrong, to see that it is found
	Exe      string   // the program, whose commands supervise and crash-worker are run
	Flags    []string // for both
	// Restarts says that on_crash is restart. Then supervisors are not killed: the last life's sessions don't keep a
	// private instance.
	Restarts bool
	Config   dsm.Config // for the run's own session; its Dir is not used
	Log      io.Writer  // what was found, line by line; the processes' stderr

	Progress func(kills int64) // called now and then; may be nil
}

// Result is what a run ends with. All is well if the last four are 0.
type Result struct {
	Kills           int64  `json:"kills"` // of workers and supervisors
	SupervisorKills int64  `json:"supervisor_kills"`
	Reclaims        int    `json:"reclaims"` // rows of killed processes that were given back
	ReclaimMs       Times  `json:"reclaim_ms"`
	Operations      uint64 `json:"operations"`
	LeakedRows      int    `json:"leaked_rows"`    // of the control segment, that don't say what the living hold
	LeakedObjects   int    `json:"leaked_objects"` // of the system, that no row lists, or missing ones
	WrongBytes      uint64 `json:"wrong_bytes"`    // blocks that their writer had finished
	Stuck           int64  `json:"stuck"`          // no step for 5 s, though no process that was waited for was stopped
}

// Times are in ms, from the witness's release to references and row given back.
type Times struct {
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

// Well reports whether nothing leaked, went wrong or got stuck.
func (r Result) Well() bool {
	return r.LeakedRows == 0 && r.LeakedObjects == 0 && r.WrongBytes == 0 && r.Stuck == 0
}

// run is what the parts of a run share.
type run struct {
	Options
	dir        string
	lives      map[uuid.UUID]bool // that have been seen
	world      atomic.Pointer[world]
	supervisor *process // the monkey's, while there is one
	desks      []atomic.Pointer[process]
	manned     sync.WaitGroup
	coroner    *coroner

	resting, stopping atomic.Bool
	weather           atomic.Uint64
	kills             atomic.Int64
	supervisorKills   atomic.Int64
	stuck             atomic.Int64
	operations, wrong atomic.Uint64 // of boards that are gone, and of the run itself

	mu   sync.Mutex
	errs []error
}

// world is a generation as the run sees it.
type world struct {
	session *dsm.Session
	books   *instance.Books
	board   *board
	onBoard *dsm.Segment
}

// Run runs processes in an instance of their own for the options' duration, or until ctx is over, and
// judges what is left. An error is of what should not have failed; the result is as good as it goes then.
func Run(ctx context.Context, o Options) (Result, error) {
	r := &run{Options: o, lives: map[uuid.UUID]bool{}, desks: make([]atomic.Pointer[process], o.Workers)}
	r.coroner = &coroner{r: r, wake: make(chan struct{}, 1)}
	err := r.begin()
	if err != nil {
		return Result{}, err
	}
	over := make(chan struct{})
	var watchers sync.WaitGroup
	watchers.Go(func() { r.coroner.watch(over) })
	watchers.Go(func() { r.watchSteps(over) })
	for i := range r.Workers {
		r.manned.Add(1)
		go r.man(i)
	}
	r.rage(ctx)
	result, err := r.finish(over, &watchers)
	r.mu.Lock()
	defer r.mu.Unlock()
	return result, errors.Join(append(r.errs, err)...)
}

// begin starts the instance and joins it.
func (r *run) begin() (err error) {
	if r.supervisor, r.dir, err = r.startSupervisor("--private"); err != nil {
		return err
	}
	r.Config.Dir = r.dir
	w, err := r.enter(context.Background())
	if err != nil {
		r.stopping.Store(true)
		return errors.Join(err, r.supervisor.stopSupervisor())
	}
	r.world.Store(w)
	return nil
}

// enter joins the present generation and makes its board.
func (r *run) enter(ctx context.Context) (w *world, err error) {
	w = &world{}
	if w.session, err = dsm.Open(ctx, r.Config); err != nil {
		return nil, err
	}
	if w.board, w.onBoard, err = makeBoard(ctx, w.session, r.dir); err == nil {
		w.books, err = look(ctx, r.Config)
	}
	if err != nil {
		return nil, errors.Join(err, w.session.Close())
	}
	return w, nil
}

// rage lets the monkey loose on the workers and their supervisor, until the time is over.
func (r *run) rage(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, r.Duration)
	defer cancel()
	var hands sync.WaitGroup
	hands.Go(func() { r.hitWorkers(ctx) })
	hands.Go(func() { r.hitSupervisor(ctx) })
	hands.Wait()
}

// finish brings all to rest, counts, and ends the instance.
func (r *run) finish(over chan struct{}, watchers *sync.WaitGroup) (Result, error) {
	r.calm()
	says := r.rest()
	if r.Sabotage == "object" {
		if err := r.plant(context.Background()); err != nil {
			return Result{}, err
		}
	}
	worst, err := r.eventually(func() (audit, error) { return r.audit(says) }, true)
	if err == nil {
		err = r.judgeAll(context.Background())
	}
	for i := range r.Workers {
		if p := r.desks[i].Load(); p != nil {
			_, _ = fmt.Fprintln(p.Orders, "leave")
		}
	}
	late := time.AfterFunc(tooLong, func() {
		for i := range r.Workers {
			if p := r.desks[i].Load(); p != nil {
				r.stuckBecause("worker %d does not leave", p.Pid())
				p.kill()
			}
		}
	})
	r.manned.Wait()
	late.Stop()
	close(over)
	watchers.Wait()
	if err != nil {
		return Result{}, errors.Join(err, r.end(&worst))
	}
	a, err := r.eventually(func() (audit, error) { return r.audit(nil) }, worst.clean())
	worst.keep(a)
	err = errors.Join(err, r.end(&worst))
	for _, what := range append(worst.rows, worst.objects...) {
		fmt.Fprintln(r.Log, "crash: leaked:", what)
	}
	result := Result{
		Kills: r.kills.Load(), SupervisorKills: r.supervisorKills.Load(), Operations: r.operations.Load(),
		LeakedRows: len(worst.rows), LeakedObjects: len(worst.objects), WrongBytes: r.wrong.Load(),
		Stuck: r.stuck.Load(),
	}
	result.Reclaims, result.ReclaimMs = r.coroner.result()
	return result, err
}

// calm waits until every desk is manned again and all the dead are given back.
func (r *run) calm() {
	for end := time.Now().Add(tooLong); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		quiet := r.coroner.settled()
		for i := range r.desks {
			p := r.desks[i].Load()
			if p == nil || p.wasKilled() {
				quiet = false
				continue
			}
			if stopped, _ := p.suspended(); stopped {
				quiet = false
			}
		}
		if quiet {
			return
		}
	}
}

// end leaves and stops the supervisor; then nothing may be left.
func (r *run) end(worst *audit) error {
	w := r.world.Load()
	dirs := []string{filepath.Join(r.dir, "mmap"), w.books.Record.MmapDirectory}
	r.settleAccounts(w)
	w.books.Close()
	err := w.session.Close()
	r.stopping.Store(true)
	lives := r.seen()
	err = errors.Join(err, r.supervisor.stopSupervisor())
	found := objectlist.Objects(lives, dirs...)
	if _, serr := os.Stat(r.dir); serr == nil {
		found = append(found, r.dir)
	}
	worst.keep(audit{objects: found})
	return err
}

// seen returns the lives that the instance has had.
func (r *run) seen() (list []uuid.UUID) {
	for _, life := range objectlist.KnownLives(r.dir) {
		r.lives[life] = true
	}
	for life := range r.lives {
		list = append(list, life)
	}
	return list
}

// settleAccounts counts what stands on a board that is about to go.
func (r *run) settleAccounts(w *world) {
	r.operations.Add(w.board.sum(func(d *desk) uint64 { return d.steps.Load() }))
	r.wrong.Add(w.board.sum(func(d *desk) uint64 { return d.wrong.Load() }))
}

func (r *run) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.errs) < 10 {
		r.errs = append(r.errs, err)
	}
}

func (r *run) stuckBecause(format string, args ...any) {
	r.stuck.Add(1)
	fmt.Fprintf(r.Log, "crash: stuck: "+format+"\n", args...)
}
