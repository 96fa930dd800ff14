//go:build linux && failpoint

package shmsync_test

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/godsm/godsm/shm/shmsync"
)

// mutexHeld are the points at which a victim holds the mutex.
var mutexHeld = []string{"shmsync/mutex/taken", "shmsync/mutex/inherited", "shmsync/mutex/stolen"}

// noteOwner counts a mutex that was found abandoned.
func (s *stage) noteOwner(g shmsync.MutexGuard) {
	if _, dead := g.Abandoned(); dead {
		s.Repairs.Add(1)
	}
}

func mutexActs(s *stage, me shmsync.Self) acts {
	m := shmsync.NewMutex(&s.Mutex, me)
	var guard shmsync.MutexGuard
	return acts{
		"mtrylock": func() error {
			g, ok := m.TryLock()
			if !ok {
				return errors.New("held")
			}
			guard = g
			return nil
		},
		"mlock": func() (err error) {
			if guard, err = m.Lock(ctx); err == nil {
				s.noteOwner(guard)
			}
			return err
		},
		"munlock": func() error { guard.Unlock(); return nil },
	}
}

func (d *drama) mlock() (unlock func()) {
	c, cancel := bounded()
	defer cancel()
	g, err := d.mutex.Lock(c)
	if err != nil {
		d.Error(err)
		return func() {}
	}
	d.s.noteOwner(g)
	if p, dead := g.Abandoned(); dead && p != d.peer && p != d.ghost.Peer {
		d.Errorf("abandoned by %v", p)
	}
	return g.Unlock
}

var mutexRounds = rounds{
	"alone": func(d *drama) {
		d.victim.Ask("mtrylock")
		d.victim.Ask("munlock")
	},
	"behind another": func(d *drama) {
		unlock := d.mlock()
		d.victim.Tell("mlock")
		d.victim.Until("waiting", d.s.Mutex.Waiting)
		unlock()
		d.victim.Answer()
		d.victim.Ask("munlock")
	},
	"in the way": func(d *drama) {
		d.victim.Ask("mtrylock")
		d.wg.Go(func() { d.mlock()() })
		d.victim.Until("waiting", d.s.Mutex.Waiting)
		d.victim.Ask("munlock")
		d.wg.Wait()
	},
	"behind a dead one": func(d *drama) {
		if _, ok := shmsync.NewMutex(&d.s.Mutex, d.ghost).TryLock(); !ok {
			d.Fatal("held")
		}
		d.ghosts++
		d.victim.Ask("mlock")
		d.victim.Ask("munlock")
	},
}

func judgeMutex(d *drama, died bool) {
	for range 2 {
		d.mlock()()
	}
	d.left(died, mutexHeld, "shmsync/mutex/stolen")
	if p, held := d.s.Mutex.Owner(); held {
		d.Errorf("left: %v holds it", p)
	}
}

func latchActs(s *stage, me shmsync.Self) acts {
	theirs, mine := shmsync.NewLatch(&s.Latches[0], me), shmsync.NewLatch(&s.Latches[1], me)
	return acts{
		"set":    func() error { theirs.Set(); return nil },
		"own":    mine.Own,
		"wait":   func() error { return mine.Wait(ctx) },
		"disown": func() error { mine.Reset(); mine.Disown(); return nil },
	}
}

var latchRounds = rounds{
	"sets": func(d *drama) {
		l := shmsync.NewLatch(&d.s.Latches[0], d.a)
		if err := l.Own(); err != nil {
			d.Fatal(err)
		}
		d.wg.Go(func() {
			c, cancel := bounded()
			defer cancel()
			if err := cmp.Or(l.Wait(c, d.peer), c.Err()); err != nil {
				d.Error(err) // the victim dies only after it has set the latch, and that wins
			}
		})
		d.victim.Until("asleep", d.s.Latches[0].MayBeAsleep)
		d.victim.Ask("set")
		d.wg.Wait()
		l.Reset()
		l.Disown()
	},
	"waits": func(d *drama) {
		d.victim.Ask("own")
		d.victim.Tell("wait")
		d.victim.Until("asleep", d.s.Latches[1].MayBeAsleep)
		shmsync.NewLatch(&d.s.Latches[1], d.a).Set()
		d.victim.Answer()
		d.victim.Ask("disown")
	},
}

func judgeLatch(d *drama, died bool) {
	c, cancel := bounded()
	defer cancel()
	for i := range 2 {
		mine, theirs := shmsync.NewLatch(&d.s.Latches[i], d.a), shmsync.NewLatch(&d.s.Latches[i], d.b)
		if err := mine.Own(); err != nil { // a dead one's too
			d.Fatal(err)
		}
		mine.Reset()
		if died {
			if err := mine.Wait(c, d.peer); !errors.Is(err, shmsync.ErrPeerDied) {
				d.Errorf("waiting for the victim: %v", err)
			}
		}
		d.wg.Go(func() { theirs.Set() })
		if err := mine.Wait(c, d.b.Peer); err != nil {
			d.Error(err)
		}
		d.wg.Wait()
	}
}

// A condition here is that number N is the greater one of those who make it true.
func condActs(s *stage) acts {
	news := func(tell func()) func() error {
		return func() error { s.Numbers[0].Add(1); tell(); return nil }
	}
	var seen uint64
	var ticket shmsync.Ticket
	return acts{
		"signal":    news(s.Cond.Signal),
		"broadcast": news(s.Cond.Broadcast),
		"count":     news(s.Count.Add),
		"look":      func() error { seen = s.Numbers[0].Load(); return nil },
		"await":     func() error { return s.await(ctx, seen) },
		"prepare":   func() error { ticket = s.Cond.Prepare(); return nil },
		"cancel":    func() error { ticket.Cancel(); return nil },
	}
}

// await waits until the number is no longer what was seen.
func (s *stage) await(ctx context.Context, seen uint64) (err error) {
	t := s.Cond.Prepare()
	for s.Numbers[0].Load() == seen && err == nil {
		err = t.Sleep(ctx)
	}
	t.Cancel()
	return err
}

// awaits begins to wait for news that somebody is to bring who is about to be told to.
func (d *drama) awaits() {
	seen := d.s.Numbers[0].Load()
	d.wg.Go(func() {
		c, cancel := bounded()
		defer cancel()
		if err := cmp.Or(d.s.await(c, seen), c.Err()); err != nil {
			d.Error(err)
		}
	})
}

var condRounds = rounds{
	"wakes": func(d *drama) {
		for _, act := range []string{"signal", "broadcast"} {
			for range 2 {
				d.awaits()
			}
			d.victim.Ask(act)
			if d.victim.Dead() && d.victim.Point == "shmsync/cond/signalled" {
				return // wg.Wait follows
			}
			d.s.Numbers[0].Add(1)
			d.s.Cond.Broadcast()
			d.wg.Wait()
		}
	},
	"wakes nobody": func(d *drama) {
		for range 2 {
			d.victim.Ask("prepare")
			d.victim.Ask("signal")
		}
	},
	"is woken": func(d *drama) {
		d.victim.Ask("look")
		d.victim.Tell("await")
		d.victim.Until("it waits", d.s.Cond.MayBeAsleep)
		d.awaits()
		d.s.Numbers[0].Add(1)
		d.s.Cond.Signal() // to the victim, if it is asleep; the other one goes on too
		d.victim.Answer()
		d.wg.Wait()
	},
	"passes on": func(d *drama) {
		d.victim.Ask("prepare")
		d.awaits()
		d.s.Numbers[0].Add(1)
		d.s.Cond.Signal()
		d.victim.Ask("cancel")
		d.wg.Wait()
	},
	"counts": func(d *drama) {
		seen := d.s.Count.Load()
		d.wg.Go(func() {
			for n := seen; n == seen; {
				n = d.s.Count.Wait(seen, 50*time.Millisecond)
			}
		})
		d.victim.Ask("count")
		d.wg.Wait()
	},
}

func judgeCond(d *drama, _ bool) {
	for _, tell := range []func(){d.s.Cond.Signal, d.s.Cond.Broadcast} {
		d.awaits()
		d.s.Numbers[0].Add(1)
		tell()
		d.wg.Wait()
	}
}

func barrierActs(s *stage, me shmsync.Self) acts {
	b := shmsync.NewBarrier(&s.Barrier, me)
	return acts{
		"attach": func() error { _, err := b.Attach(); return err },
		"arrive": func() error { _, err := b.ArriveAndWait(ctx); return err },
		"arrive briefly": func() error {
			short, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
			defer cancel()
			if _, err := b.ArriveAndWait(short); !errors.Is(err, context.DeadlineExceeded) {
				return err
			}
			return nil
		},
		"detach": func() error { _, err := b.Detach(); return err },
	}
}

// arrives takes part in one phase.
func (d *drama) arrives(b *shmsync.Barrier) {
	c, cancel := bounded()
	defer cancel()
	if _, err := b.ArriveAndWait(c); cmp.Or(err, c.Err()) != nil {
		d.Error(err, c.Err())
	}
}

var barrierRounds = rounds{
	"alone": func(d *drama) {
		for _, act := range []string{"attach", "arrive", "detach"} {
			d.victim.Ask(act)
		}
	},
	"first and last": func(d *drama) {
		b := shmsync.NewBarrier(&d.s.Barrier, d.a)
		must(b.Attach())
		d.victim.Ask("attach")
		d.victim.Ask("arrive briefly")
		d.victim.Tell("arrive")
		d.victim.Until("it has arrived", func() bool { return d.s.Barrier.Arrived() == 1 })
		d.arrives(b)
		d.victim.Answer()
		d.wg.Go(func() { d.arrives(b) })
		d.victim.Until("the other one has arrived", func() bool { return d.s.Barrier.Arrived() == 1 })
		d.victim.Ask("arrive")
		d.wg.Wait()
		d.wg.Go(func() { d.arrives(b) })
		d.victim.Ask("detach") // with that the phase ends
		d.wg.Wait()
		must(b.Detach())
	},
	"beside a dead one": func(d *drama) {
		must(shmsync.NewBarrier(&d.s.Barrier, d.ghost).Attach())
		for _, act := range []string{"attach", "arrive", "detach"} {
			d.victim.Ask(act)
		}
	},
}

func judgeBarrier(d *drama, _ bool) {
	b, phase := shmsync.NewBarrier(&d.s.Barrier, d.a), uint32(0)
	phase = must(b.Attach())
	for range 2 {
		c, cancel := bounded()
		if elected, err := b.ArriveAndWait(c); err != nil || !elected {
			d.Errorf("a phase of one's own: elected %v, %v", elected, err)
		}
		cancel()
	}
	if p := b.Phase(); p != phase+2 {
		d.Errorf("phase %d after %d", p, phase)
	}
	if list := b.Participants(); !slices.Equal(list, []shmsync.Peer{d.a.Peer}) {
		d.Errorf("participants: %v", list)
	}
	if last, err := b.Detach(); err != nil || !last {
		d.Errorf("detached: last %v, %v", last, err)
	}
}
