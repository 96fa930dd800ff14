//go:build linux && failpoint

package shmsync_test

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/godsm/godsm/shm/shmsync"
)

// An answer here is that a number is no longer what it was; the bit to ring stands in another.
const (
	answerToA = iota + 10
	answerToVictim
	answerToVictimsOther
	bitOfA
	bitOfVictim
	bitOfVictimsOther
)

func mailboxActs(s *stage, me shmsync.Self) acts {
	box := shmsync.NewMailbox(s.Mail[:], nil, me)
	awaiting := make(chan error, 1)
	return acts{
		"ring": func() error {
			s.Numbers[answerToA].Add(1)
			box.Ring(shmsync.Peer{Row: 0}, uint32(s.Numbers[bitOfA].Load()))
			return nil
		},
		"get mail": func() error {
			b := box.Take()
			defer b.Release()
			return s.awaitMail(ctx, b, bitOfVictim, answerToVictim)
		},
		"begin to get other mail": func() error {
			b := box.Take()
			s.Numbers[bitOfVictimsOther].Store(uint64(b.Number()) + 1)
			go func() {
				defer b.Release()
				awaiting <- s.awaitMail(ctx, b, bitOfVictimsOther, answerToVictimsOther)
			}()
			return nil
		},
		"get the other mail": func() error { return <-awaiting },
		"get no mail": func() error {
			short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
			defer cancel()
			b := box.Take()
			defer b.Release()
			if err := s.awaitMail(short, b, bitOfVictim, answerToVictim); !errors.Is(err, context.DeadlineExceeded) {
				return err
			}
			return nil
		},
		"tell": func() error { s.Mail[0].Tell(shmsync.NewsAsk); return nil },
		"listen": func() error {
			for s.Mail[1].Listen(ctx, time.Second) == 0 {
			}
			return nil
		},
	}
}

// awaitMail publishes the bit, plus one, and waits until the number has changed.
func (s *stage) awaitMail(ctx context.Context, b shmsync.Bit, bit, answer int) (err error) {
	seen := s.Numbers[answer].Load()
	s.Numbers[bit].Store(uint64(b.Number()) + 1)
	for s.Numbers[answer].Load() == seen && err == nil {
		err = b.Wait(ctx)
	}
	s.Numbers[bit].Store(0)
	return err
}

// answerVictim rings the victim when it has published its bit and sleeps.
func (d *drama) answerVictim(bit, answer int) {
	d.victim.Until("it waits", func() bool { return d.s.Numbers[bit].Load() != 0 && d.s.Mail[1].DealerSleeps() })
	if n := d.s.Numbers[bit].Load(); n != 0 {
		d.s.Numbers[answer].Add(1)
		d.s.Mail[1].Ring(uint32(n) - 1)
	}
}

// getsMail begins to wait for a ring that another is about to be told to make. It is late if that one dies of it.
func (d *drama) getsMail() {
	seen := d.s.Numbers[answerToA].Load()
	b := d.mail.Take()
	d.s.Numbers[bitOfA].Store(uint64(b.Number()))
	d.wg.Go(func() {
		defer b.Release()
		c, cancel := bounded()
		defer cancel()
		var err error
		for d.s.Numbers[answerToA].Load() == seen && err == nil {
			err = b.Wait(c)
		}
		if err = cmp.Or(err, c.Err()); err != nil {
			d.Error(err)
		}
	})
}

var mailboxRounds = rounds{
	"rings": func(d *drama) {
		d.getsMail()
		d.victim.Until("it sleeps", d.s.Mail[0].DealerSleeps)
		d.victim.Ask("ring")
		if d.victim.Dead() {
			d.s.Numbers[answerToA].Add(1) // it may have died before; the beat finds that
		}
		d.wg.Wait()
	},
	"is rung": func(d *drama) {
		d.victim.Tell("get mail")
		d.answerVictim(bitOfVictim, answerToVictim)
		d.victim.Answer()
	},
	"hands on": func(d *drama) {
		d.victim.Ask("begin to get other mail")
		d.victim.Ask("get no mail")
		d.victim.Tell("get mail")
		d.answerVictim(bitOfVictim, answerToVictim)
		d.victim.Answer()
		d.answerVictim(bitOfVictimsOther, answerToVictimsOther)
		d.victim.Ask("get the other mail")
	},
	"tells": func(d *drama) {
		d.wg.Go(func() {
			for d.s.Mail[0].Listen(ctx, 50*time.Millisecond) == 0 && !d.victim.Dead() {
			}
		})
		d.victim.Ask("tell")
		d.wg.Wait()
	},
	"listens": func(d *drama) {
		d.victim.Tell("listen")
		d.s.Mail[1].Tell(shmsync.NewsAsk)
		d.victim.Answer()
	},
}

// judgeMailbox: A is rung by another, and the victim's mailbox serves the next user of its row.
func judgeMailbox(d *drama, died bool) {
	d.getsMail()
	d.s.Numbers[answerToA].Add(1)
	d.s.Mail[0].Ring(uint32(d.s.Numbers[bitOfA].Load()))
	d.wg.Wait()
	if !died {
		return
	}
	heir := d.a
	heir.Peer = shmsync.Peer{Row: 1, Incarnation: d.peer.Incarnation + 1}
	box := shmsync.NewMailbox(d.s.Mail[:], nil, heir)
	b := box.Take()
	defer b.Release()
	d.wg.Go(func() {
		c, cancel := bounded()
		defer cancel()
		if err := d.s.awaitMail(c, b, bitOfVictim, answerToVictim); err != nil {
			d.Error(err)
		}
	})
	for d.s.Numbers[bitOfVictim].Load() != uint64(b.Number())+1 || !d.s.Mail[1].DealerSleeps() {
		time.Sleep(time.Millisecond)
	}
	d.s.Numbers[answerToVictim].Add(1)
	d.mail.Ring(heir.Peer, b.Number())
	d.wg.Wait()
}
