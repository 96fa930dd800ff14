//go:build linux && failpoint

package mq_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/godsm/godsm/internal/testing/proctest"
	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/mq"
	"github.com/godsm/godsm/shm/shmsync"
)

func init() { proctest.Register("actor", actor) }

// ringOfDeaths is such that some messages fit, some in two pieces, and some are longer.
const ringOfDeaths = 96

// message is the one with that number.
func message(n uint64) []byte {
	return random(rand.New(rand.NewPCG(6, n)), []int{0, 3, 40, 200}[n%4])
}

// Numbers of the cast.
const (
	begun   = iota // messages that the victim has begun to send
	flushed        // that Flush has returned for
)

// actor does what it is told, on queue 0.
func actor(c *proctest.Child) error {
	s, err := onStage(c)
	if err != nil {
		return err
	}
	var out *mq.Sender
	var in *mq.Receiver
	numbers, received := &s.cast.Numbers, uint64(0)
	acts := map[string]func() error{
		"create":      func() error { _, err := mq.Create(s.bytes(0)); return err },
		"name itself": func() error { return s.queue(0).SetSender(s.self.Peer) },
		"sender":      func() (err error) { out, err = s.queue(0).Sender(s.self); return err },
		"receiver":    func() (err error) { in, err = s.queue(0).Receiver(s.self); return err },
		"send":        func() error { return out.Send(ctx, message(numbers[begun].Add(1)-1)) },
		"flush": func() error {
			err := out.Flush()
			numbers[flushed].Store(numbers[begun].Load())
			return err
		},
		"receive": func() error {
			b, err := in.Receive(ctx)
			if want := message(received); err == nil && !bytes.Equal(b, want) {
				return fmt.Errorf("message %d has %d bytes, and not the %d that were sent", received, len(b), len(want))
			}
			received++
			return err
		},
		"detach sender":   func() error { out.Detach(); return nil },
		"detach receiver": func() error { in.Detach(); return nil },
	}
	c.Say("ready")
	for {
		line, ok := c.Hear()
		if !ok {
			return nil
		}
		if err := acts[line](); err != nil {
			return fmt.Errorf("%s: %w", line, err)
		}
		c.Say("done")
	}
}

// bytes are those of a queue.
func (s *stage) bytes(i int) shm.Region { return must(s.region.Sub(s.offset(i), s.len)) }

// drama is one play: the victim is row 1.
type drama struct {
	*testing.T
	*stage
	victim *proctest.Victim
	wg     sync.WaitGroup
	got    uint64 // messages that have come from the victim
	end    error  // of what this process did at its end of the queue
}

// bounded is the context of the one who lives on: it ends only if that one is kept waiting.
func bounded() (context.Context, context.CancelFunc) { return context.WithTimeout(ctx, 20*time.Second) }

// receives all that comes: each message is whole, and the next one.
func (d *drama) receives(in *mq.Receiver) {
	d.wg.Go(func() {
		c, cancel := bounded()
		defer cancel()
		for ; ; d.got++ {
			var b []byte
			if b, d.end = in.Receive(c); d.end != nil {
				return
			}
			if want := message(d.got); !bytes.Equal(b, want) {
				d.Errorf("message %d has %d bytes, and not the %d that were sent", d.got, len(b), len(want))
			}
		}
	})
}

// sends until it can't.
func (d *drama) sends(out *mq.Sender) {
	d.wg.Go(func() {
		c, cancel := bounded()
		defer cancel()
		for n := uint64(0); d.end == nil; n++ {
			if d.end = out.Send(c, message(n)); d.end == nil {
				d.end = out.Flush()
			}
		}
	})
}

func (d *drama) senderSleeps() bool   { sender, _ := d.queue(0).Asleep(); return sender }
func (d *drama) receiverSleeps() bool { _, receiver := d.queue(0).Asleep(); return receiver }

func (d *drama) ask(acts ...string) {
	for _, a := range acts {
		if d.victim.Ask(a) == "" {
			return
		}
	}
}

var plays = []struct {
	name string
	play func(d *drama)
}{
	{"sends to one who waits", func(d *drama) {
		d.receives(d.receiver(0))
		d.victim.Until("the receiver sleeps", d.receiverSleeps)
		d.ask("sender")
		for range 8 {
			d.victim.Until("the receiver sleeps", d.receiverSleeps)
			d.ask("send", "flush")
		}
		d.ask("send", "detach sender")
	}},
	{"waits for room", func(d *drama) {
		in := d.receiver(0)
		d.ask("sender")
		for range 12 {
			d.victim.Tell("send")
		}
		d.victim.Until("it sleeps", d.senderSleeps)
		d.receives(in)
		for range 12 {
			d.victim.Answer()
		}
		d.ask("flush", "detach sender")
	}},
	{"sends before anybody listens", func(d *drama) {
		d.ask("sender", "send", "flush", "send", "detach sender")
		d.receives(d.receiver(0))
	}},
	{"is named and comes", func(d *drama) {
		d.receives(d.receiver(0))
		d.victim.Until("the receiver sleeps", d.receiverSleeps)
		d.ask("name itself", "sender", "send", "flush", "detach sender")
	}},
	{"receives", func(d *drama) {
		out := d.sender(0)
		d.ask("receiver")
		d.victim.Tell("receive")
		d.victim.Until("it sleeps", d.receiverSleeps)
		d.sends(out)
		d.victim.Answer()
		for range 8 {
			d.victim.Until("the sender sleeps", d.senderSleeps)
			d.ask("receive")
		}
		d.ask("detach receiver")
	}},
}

// TestKilledInside kills a process at every step of either end; the other one hears of it, and no message
// that was flushed is lost.
func TestKilledInside(t *testing.T) {
	list := []proctest.Scenario{{Name: "makes the queue", Play: makesTheQueue}}
	for _, p := range plays {
		list = append(list, proctest.Scenario{Name: p.name, Play: func(t *testing.T, v *proctest.Victim) {
			d := newDrama(t, v)
			p.play(d)
			died := v.End()
			d.wg.Wait()
			d.judge(died)
			d.again()
		}})
	}
	proctest.Deaths(t, ".", list)
}

func newDrama(t *testing.T, v *proctest.Victim) *drama {
	d := &drama{T: t, stage: newStage(t, 1, ringOfDeaths), victim: v}
	v.Start("actor", d.args(1)...)
	return d
}

func (d *drama) judge(died bool) {
	n := &d.cast.Numbers
	if d.got < n[flushed].Load() || d.got > n[begun].Load() {
		d.Errorf("%d messages arrived of %d, and %d had been flushed", d.got, n[begun].Load(), n[flushed].Load())
	}
	detached := !died || d.victim.Point == "mq/detach/gone"
	either := died && d.victim.Point == "mq/wake/cleared" // may be the last thing that detaching does
	if detached && d.got != n[begun].Load() {
		d.Errorf("%d messages arrived of %d", d.got, n[begun].Load())
	}
	dead := &shmsync.PeerDiedError{}
	switch {
	case errors.Is(d.end, mq.ErrDetached) && (detached || either):
	case errors.As(d.end, &dead) && (!detached || either):
		if dead.Peer.Row != 1 {
			d.Errorf("died: %v", dead.Peer)
		}
	default:
		d.Errorf("the other end, killed %v, ended with: %v", died, d.end)
	}
}

// again begins again in the same bytes.
func (d *drama) again() {
	clear(must(d.bytes(0).Bytes(0, d.len)))
	must(mq.Create(d.bytes(0)))
	in, out := d.receiver(0), d.sender(0)
	d.got, d.end = 0, nil
	d.receives(in)
	for n := range uint64(8) {
		if err := out.Send(ctx, message(n)); err != nil {
			d.Error(err)
		}
	}
	out.Detach()
	d.wg.Wait()
	if d.got != 8 || !errors.Is(d.end, mq.ErrDetached) {
		d.Errorf("again: %d messages, %v", d.got, d.end)
	}
}

// makesTheQueue: one that is half made is none, and no process takes it for free bytes.
func makesTheQueue(t *testing.T, v *proctest.Victim) {
	d := newDrama(t, v)
	clear(must(d.bytes(0).Bytes(0, d.len)))
	d.ask("create")
	died := v.End()
	if _, err := mq.Attach(d.bytes(0)); died != errors.Is(err, mq.ErrNotFound) || !died && err != nil {
		t.Errorf("killed %v, and Attach is %v", died, err)
	}
	if _, err := mq.Create(d.bytes(0)); !errors.Is(err, mq.ErrExists) {
		t.Errorf("killed %v, and Create is %v", died, err)
	}
	d.again()
}
