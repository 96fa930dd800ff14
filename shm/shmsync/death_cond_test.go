//go:build linux && failpoint

package shmsync_test

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/godsm/godsm/shm/shmsync"
)

// A condition here is that a number is no longer what it was.
func condActs(s *stage) acts {
	news := func(tell func()) func() error {
		return func() error { s.Numbers[0].Add(1); tell(); return nil }
	}
	var seen uint64
	var ticket shmsync.Ticket
	return acts{
		"signal":    news(s.Cond.Signal),
		"broadcast": news(s.Cond.Broadcast),
		"count":     news(s.Count.Advance),
		"look":      func() error { seen = s.Numbers[0].Load(); return nil },
		"await":     func() error { return s.await(ctx, seen) },
		"await briefly": func() error {
			short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
			defer cancel()
			if err := s.await(short, s.Numbers[0].Load()); !errors.Is(err, context.DeadlineExceeded) {
				return err
			}
			return nil
		},
		"prepare": func() error { ticket = s.Cond.Prepare(); return nil },
		"cancel":  func() error { ticket.Cancel(); return nil },
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

// awaits begins to wait for news that a process is to bring who is about to be told to.
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
	"wakes one": func(d *drama) {
		d.awaits()
		d.victim.Until("it waits", d.s.Cond.MayBeAsleep)
		d.victim.Ask("signal")
		d.wg.Wait() // it looks by itself if the victim died before it woke it
	},
	"wakes all": func(d *drama) {
		d.awaits()
		d.awaits()
		d.victim.Until("one waits", d.s.Cond.MayBeAsleep)
		d.victim.Ask("broadcast")
		d.wg.Wait()
	},
	"wakes nobody": func(d *drama) {
		for range 2 {
			d.victim.Ask("prepare")
			d.victim.Ask("signal")
		}
	},
	"is woken": func(d *drama) {
		d.victim.Ask("await briefly")
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
				n = d.s.Count.Await(ctx, seen, 50*time.Millisecond)
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
