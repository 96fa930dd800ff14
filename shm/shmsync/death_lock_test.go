//go:build linux && failpoint

package shmsync_test

import (
	"context"
	"errors"
	"time"

	"github.com/godsm/godsm/shm/shmsync"
)

// Points at which a victim holds the lock exclusively, and at which it reads.
var (
	lockHeld = []string{
		"shmsync/lwlock/locked", "shmsync/lwlock/tried", "shmsync/lwlock/taken", "shmsync/lwlock/drained",
		"shmsync/lwlock/inherited", "shmsync/lwlock/marked",
	}
	lockRead = []string{"shmsync/lwlock/reading", "shmsync/lwlock/shared"}
)

// repair counts a lock that was found abandoned, and puts it in order.
func (s *stage) repair(g shmsync.Guard) {
	if g.Abandoned() {
		s.Repairs.Add(1)
		g.MarkConsistent()
	}
}

// untilFree is over as soon as no process holds the lock.
type untilFree struct {
	context.Context
	w *shmsync.LWLockWord
}

func (c untilFree) Err() error {
	if c.w.State()&shmsync.PeerMask == 0 {
		return context.Canceled
	}
	return nil
}

func lockActs(s *stage, me shmsync.Self) acts {
	l := shmsync.NewLWLock(&s.Lock, me)
	var guard *shmsync.Guard
	hold := func(g shmsync.Guard, err error) error {
		if err == nil {
			s.repair(g)
			guard = &g
		}
		return err
	}
	try := func(g shmsync.Guard, ok bool, err error) error {
		if !ok && err == nil {
			return errors.New("held")
		}
		return hold(g, err)
	}
	return acts{
		"lock":     func() error { return hold(l.Lock(ctx)) },
		"rlock":    func() error { return hold(l.RLock(ctx)) },
		"trylock":  func() error { return try(l.TryLock()) },
		"tryrlock": func() error { return try(l.TryRLock()) },
		"lock briefly": func() error {
			short, cancel := context.WithTimeout(ctx, 3*time.Millisecond)
			defer cancel()
			if err := hold(l.Lock(short)); !errors.Is(err, context.DeadlineExceeded) {
				return err
			}
			return nil
		},
		"lock while it is held": func() error {
			if err := hold(l.Lock(untilFree{ctx, &s.Lock})); err != nil && s.Lock.State()&shmsync.Poisoned != 0 {
				return err
			}
			return nil
		},
		"unlock": func() error {
			if guard != nil {
				guard.Unlock()
				guard = nil
			}
			return nil
		},
	}
}

// lock takes the lock for one of those who live on.
func (d *drama) lock(session int, mode string) (unlock func()) {
	c, cancel := bounded()
	defer cancel()
	l := d.locks[session]
	take := l.Lock
	if mode == "shared" {
		take = l.RLock
	}
	g, err := take(c)
	if err != nil {
		d.Errorf("session %d, %s: %v; %+v, state %x", session, mode, err, l.Status(), d.s.Lock.State())
		return func() {}
	}
	d.s.repair(g)
	return g.Unlock
}

func (d *drama) state(bits uint64) func() bool {
	return func() bool { return d.s.Lock.State()&bits == bits }
}

var lockRounds = rounds{
	"alone": func(d *drama) {
		for _, act := range []string{"trylock", "lock", "rlock", "tryrlock"} {
			d.victim.Ask(act)
			d.victim.Ask("unlock")
		}
	},
	"a writer behind a writer": func(d *drama) {
		unlock := d.lock(0, "exclusive")
		d.victim.Tell("lock")
		d.victim.Until("asleep for long", d.state(shmsync.SleepX|shmsync.Hungry))
		d.wg.Go(func() { d.lock(1, "exclusive")() }) // gets the lock though the victim dies of its wake-up
		d.victim.Until("two wait", func() bool { return len(d.locks[0].Status().Waiting) == 2 })
		unlock()
		d.victim.Answer()
		d.victim.Ask("unlock")
		d.wg.Wait()
	},
	"a reader behind a writer": func(d *drama) {
		unlock := d.lock(0, "exclusive")
		d.victim.Tell("rlock")
		d.victim.Until("asleep", d.state(shmsync.SleepS))
		unlock()
		d.victim.Answer()
		d.victim.Ask("unlock")
	},
	"in the way of a writer and a reader": func(d *drama) {
		d.victim.Ask("lock")
		d.wg.Go(func() { d.lock(0, "exclusive")() })
		d.wg.Go(func() { d.lock(1, "shared")() })
		d.victim.Until("both asleep", d.state(shmsync.SleepX|shmsync.SleepS))
		d.victim.Ask("unlock")
		d.wg.Wait()
	},
	"a reader in the way of a writer": func(d *drama) {
		d.victim.Ask("rlock")
		d.wg.Go(func() { d.lock(0, "exclusive")() })
		d.victim.Until("the writer waits for readers", d.s.Lock.Drains)
		d.victim.Ask("unlock")
		d.wg.Wait()
	},
	"a writer behind a reader": func(d *drama) {
		unlock := d.lock(0, "shared")
		d.victim.Tell("lock")
		d.victim.Until("it waits for readers", d.s.Lock.Drains)
		unlock()
		d.victim.Answer()
		d.victim.Ask("unlock")
	},
	"a writer behind a reader gives up": func(d *drama) {
		unlock := d.lock(0, "shared")
		d.victim.Ask("lock briefly")
		unlock()
		d.victim.Ask("unlock")
	},
	"a writer gives up as it is woken": func(d *drama) {
		unlock := d.lock(0, "exclusive")
		d.victim.Tell("lock while it is held")
		d.victim.Until("asleep", d.state(shmsync.SleepX))
		d.wg.Go(func() { d.lock(1, "exclusive")() }) // for whom the wake-up is
		unlock()
		d.victim.Answer()
		d.victim.Ask("unlock")
		d.wg.Wait()
	},
	"behind a dead writer": func(d *drama) {
		if _, ok, err := shmsync.NewLWLock(&d.s.Lock, d.ghost).TryLock(); !ok || err != nil {
			d.Fatal(ok, err)
		}
		d.ghosts++
		d.victim.Ask("lock")
		d.victim.Ask("unlock")
	},
	"behind a dead reader": func(d *drama) {
		ghost := shmsync.NewLWLock(&d.s.Lock, d.ghost)
		for _, act := range []string{"lock", "trylock"} {
			if _, ok, err := ghost.TryRLock(); !ok || err != nil {
				d.Fatal(ok, err)
			}
			if d.victim.Ask(act) == "" {
				return
			}
			d.victim.Ask("unlock")
		}
	},
	"behind a dead writer who waits for readers": func(d *drama) {
		d.s.Lock.Leave(&d.ghost.Peer, shmsync.MayRead, nil, nil)
		d.victim.Ask("lock")
		d.victim.Ask("unlock")
	},
}

func judgeLock(d *drama, died bool) {
	for range 2 {
		for session := range 2 {
			for _, mode := range []string{"exclusive", "shared"} {
				d.lock(session, mode)()
			}
		}
	}
	d.left(died, lockHeld, "shmsync/lwlock/inherited")
	if s := d.locks[0].Status(); s.Exclusive != nil || s.Shared != nil || s.Waiting != nil || s.Poisoned {
		d.Errorf("left: %+v", s)
	}
	if st, n := d.s.Lock.State(), d.s.Lock.Readers(); st&shmsync.PeerMask != 0 || n != 0 {
		d.Errorf("left: state %x, %d readers", st, n)
	}
}
