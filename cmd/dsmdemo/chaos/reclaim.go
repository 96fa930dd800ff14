package chaos

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/godsm/godsm/control"
	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/instance"
)

// look maps the instance's books for reading: it joins nothing, takes no lock, and asks for witnesses through
// descriptors of its own.
func look(ctx context.Context, cfg dsm.Config) (*instance.Books, error) {
	dir, err := instance.OpenDir(cfg.Dir)
	if err != nil {
		return nil, err
	}
	s, err := instance.Backends{}.Load(cfg.Dir, cfg.Settings)
	if err != nil {
		return nil, err
	}
	for end := time.Now().Add(time.Second); ; time.Sleep(time.Millisecond) {
		b, err := dir.Look(ctx, instance.Backends{}, s)
		if !errors.Is(err, dsm.ErrCorrupt) || time.Now().After(end) { // they are so while they are being made
			return b, err
		}
	}
}

// processOf returns the row that a living process uses; of those with its pid the youngest.
func processOf(b *instance.Books, pid int) (found control.ProcessInfo, ok bool) {
	list, _ := b.Table.Processes()
	for _, p := range list {
		if p.Pid == pid && b.Roll.Held(p.Row) && (!ok || p.Started.After(found.Started)) {
			found, ok = p, true
		}
	}
	return found, ok
}

// uses reports whether that incarnation uses its row still.
func uses(list []control.ProcessInfo, p control.ProcessInfo) bool {
	return slices.ContainsFunc(list, func(x control.ProcessInfo) bool {
		return x.Row == p.Row && x.Incarnation == p.Incarnation
	})
}

// death is a process that was killed and whose row is not given back yet.
type death struct {
	control.ProcessInfo
	held    time.Time // when the witness was last seen held
	free    bool      // it has been seen free
	begin   time.Time // since when nothing excuses a delay
	weather uint64    // of the supervisor, when it was killed
	timed   bool      // nothing has disturbed the time
	late    bool      // counted as stuck
}

// coroner follows the dead until their rows are given back. It polls: a time is from the last
// look at which the witness was held to the first at which the row is free, so never too short.
type coroner struct {
	r       *run
	mu      sync.Mutex
	pending []*death
	count   int
	times   []time.Duration
	wake    chan struct{}
}

const (
	lookEvery = 100 * time.Microsecond
	// tooLong is how long nothing may happen that should.
	tooLong = 5 * time.Second
)

// kill kills a process and follows what becomes of its row, if it has one.
func (c *coroner) kill(p *process) {
	books := c.r.world.Load().books
	row, ok := processOf(books, p.Pid())
	weather := c.r.weather.Load()
	p.kill()
	c.r.kills.Add(1)
	if list, _ := books.Table.Processes(); !ok || !uses(list, row) {
		return // it has just left
	}
	c.mu.Lock()
	now := time.Now()
	c.pending = append(c.pending, &death{ProcessInfo: row, held: now, begin: now,
		weather: weather, timed: fair(weather)})
	c.mu.Unlock()
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// watch looks at all the pending deaths until the run ends.
func (c *coroner) watch(over <-chan struct{}) {
	for {
		c.mu.Lock()
		idle := len(c.pending) == 0
		c.mu.Unlock()
		if idle {
			select {
			case <-over:
				return
			case <-c.wake:
			}
		}
		time.Sleep(lookEvery)
		c.look()
	}
}

func (c *coroner) look() {
	world := c.r.world.Load()
	list, err := world.books.Table.Processes()
	excused := !fair(c.r.weather.Load()) || c.r.heldUp(world.books)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil || world.books.Table.Closing() { // the generation has ended, and its rows with it
		c.pending = nil
		return
	}
	c.pending = slices.DeleteFunc(c.pending, func(d *death) bool {
		now := time.Now()
		if !d.free && world.books.Roll.Held(d.Row) && uses(list, d.ProcessInfo) {
			d.held = now
		} else {
			d.free = true
		}
		if excused {
			d.timed, d.begin = false, now
		}
		if uses(list, d.ProcessInfo) {
			if now.Sub(d.begin) > tooLong && !d.late {
				d.late = true
				c.r.stuckBecause("process %d is dead and not reclaimed", d.Pid)
			}
			return false
		}
		c.count++
		if d.timed && d.weather == c.r.weather.Load() {
			c.times = append(c.times, now.Sub(d.held))
		}
		return true
	})
}

// settled reports whether no dead session is left to be reclaimed.
func (c *coroner) settled() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.pending) == 0
}

// clear forgets the dead of a generation that has ended.
func (c *coroner) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pending = nil
}

// result sorts the times and gives p50, p99 and the longest, in ms.
func (c *coroner) result() (count int, t Times) {
	c.mu.Lock()
	defer c.mu.Unlock()
	slices.Sort(c.times)
	at := func(percent int) float64 {
		if len(c.times) == 0 {
			return 0
		}
		d := c.times[min(len(c.times)-1, len(c.times)*percent/100)]
		return float64(d.Microseconds()) / 1000
	}
	return c.count, Times{at(50), at(99), at(100)}
}
