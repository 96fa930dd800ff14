//go:build linux && failpoint

package shmsync_test

import (
	"errors"

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
