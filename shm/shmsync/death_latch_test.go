//go:build linux && failpoint

package shmsync_test

import (
	"cmp"
	"errors"

	"github.com/godsm/godsm/shm/shmsync"
)

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
