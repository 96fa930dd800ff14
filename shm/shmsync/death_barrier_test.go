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
