package chaos

import (
	"context"
	"fmt"
	"time"

	"github.com/godsm/godsm/internal/instance"
)

// heldUp reports whether the process that holds the control lock is stopped: then no other is to blame for waiting.
func (r *run) heldUp(b *instance.Books) bool {
	p, held, err := b.Table.LockHolder()
	return err == nil && held && r.isStopped(p.Pid)
}

// lockedUp reports whether a stopped process holds the board's lock, as heldUp does for the books'.
func (r *run) lockedUp(w *world) bool {
	h, held := w.board.lock.Owner()
	if !held {
		return false
	}
	list, _ := w.books.Table.Processes()
	for _, p := range list {
		if p.Row == h.Row {
			return r.isStopped(p.Pid)
		}
	}
	return false
}

func (r *run) isStopped(pid int) bool {
	for i := range r.desks {
		if p := r.desks[i].Load(); p != nil && p.Pid() == pid {
			stopped, _ := p.suspended()
			return stopped || p.frozen()
		}
	}
	return false
}

// watchSteps finds workers that make no step though no process that they may wait for is stopped, and reports the progress.
func (r *run) watchSteps(over <-chan struct{}) {
	type clock struct {
		p     *process
		steps uint64
		since time.Time
		told  bool
	}
	clocks := make([]clock, r.Workers)
	for tick := time.NewTicker(50 * time.Millisecond); ; {
		select {
		case <-over:
			tick.Stop()
			return
		case <-r.world.Load().session.Done():
			r.nextGeneration(over)
		case now := <-tick.C:
			if r.Progress != nil {
				r.Progress(r.kills.Load())
			}
			w := r.world.Load()
			excused := r.resting.Load() || r.heldUp(w.books) || r.lockedUp(w)
			for i := range clocks {
				c, p, steps := &clocks[i], r.desks[i].Load(), w.board.desks[i].steps.Load()
				if p == nil || p.wasKilled() || p != c.p || steps != c.steps || excused {
					*c = clock{p, steps, now, c.told && p == c.p && steps == c.steps}
					continue
				}
				stopped, touched := p.suspended()
				if stopped || touched.After(c.since) {
					c.since = now
				}
				if now.Sub(c.since) > tooLong && !c.told {
					c.told = true
					r.stuckBecause("worker %d has made no step for %v", p.Pid(), tooLong)
				}
			}
		}
	}
}

// nextGeneration joins the next generation when one has ended, as on_crash = restart has it.
func (r *run) nextGeneration(over <-chan struct{}) {
	old := r.world.Load()
	r.settleAccounts(old)
	for {
		next, err := r.enter(context.Background())
		if err == nil {
			r.world.Store(next)
			break
		}
		if !gone(err) {
			r.fail(fmt.Errorf("the run's own session: %w", err))
		}
		select {
		case <-over:
			return
		case <-time.After(2 * time.Millisecond):
		}
	}
	r.coroner.clear()
	if err := old.session.Close(); err != nil { // its books stay mapped: the coroner may be looking at them
		r.fail(err)
	}
}
