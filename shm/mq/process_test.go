//go:build linux || darwin || freebsd

package mq_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/godsm/godsm/internal/testing/proctest"
	"github.com/godsm/godsm/shm/mq"
)

func init() {
	proctest.Register("relay", relayHelper)
	proctest.Register("talker", talkerHelper)
	proctest.Register("listener", listenerHelper)
	proctest.Register("idler", idlerHelper)
}

// relayHelper passes on what comes on one queue to the next one, until that is detached.
func relayHelper(c *proctest.Child) error {
	s, err := onStage(c)
	if err != nil {
		return err
	}
	in, out := s.receiver(number(c, 4)), s.sender(number(c, 4)+1)
	c.Say("ready")
	for {
		b, err := in.Receive(ctx)
		if err == nil {
			err = out.Send(ctx, b)
		}
		if err == nil {
			err = out.Flush()
		}
		if err != nil {
			in.Detach()
			out.Detach()
			if errors.Is(err, mq.ErrDetached) {
				return nil
			}
			return err
		}
	}
}

// TestRingOfWorkers is PostgreSQL's test_shm_mq: messages go through N workers and come back as they were.
func TestRingOfWorkers(t *testing.T) {
	for _, c := range []struct {
		name           string
		queue          int // bytes, of which PostgreSQL's header takes 56
		least, most    int // of a message
		repeat, worker int
		pipelined      bool
	}{
		{"empty", 1024, 0, 0, 2000, 1, false},
		{"one byte", 1024, 1, 1, 2001, 1, false},
		{"random", 32768, 100, 1000, 10000, 1, false},
		{"longer than the ring", 100, 100, 300, 10000, 1, false},
		{"pipelined", 16384, 270000, 270000, 200, 3, true},
		{"pipelined to itself", 16384, 270000, 270000, 200, 0, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStage(t, c.worker+1, (c.queue-56)&^7)
			var procs []*proctest.Process
			for i := range c.worker {
				procs = append(procs, s.start(t, "relay", i+1, i))
			}
			out, in := s.sender(0), s.receiver(c.worker)
			rng := rand.New(rand.NewPCG(1, 2))
			msg := make([]byte, c.least+rng.IntN(c.most-c.least+1))
			for i := range msg {
				msg[i] = byte(' ' + rng.IntN(95))
			}
			if testing.Short() {
				c.repeat /= 10
			}
			var err error
			if c.pipelined {
				err = pipeline(out, in, msg, c.repeat)
			} else {
				err = echo(out, in, msg, c.repeat)
			}
			if err != nil {
				t.Fatal(err)
			}
			out.Detach()
			if _, err := in.Receive(ctx); !errors.Is(err, mq.ErrDetached) {
				t.Errorf("at the end: %v", err)
			}
			for _, p := range procs {
				if err := p.Wait(); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func echo(out *mq.Sender, in *mq.Receiver, msg []byte, n int) error {
	for range n {
		if err := errors.Join(out.Send(ctx, msg), out.Flush()); err != nil {
			return err
		}
		b, err := in.Receive(ctx)
		if err != nil {
			return err
		}
		if !bytes.Equal(b, msg) {
			return fmt.Errorf("%d bytes came back of %d", len(b), len(msg))
		}
	}
	return nil
}

// pipeline sends and receives without waiting for either, and waits when neither gets further.
func pipeline(out *mq.Sender, in *mq.Receiver, msg []byte, n int) error {
	for sent, received := 0, 0; received < n; {
		blocked := 0
		if sent < n {
			switch err := out.TrySend(msg); err {
			case nil:
				if sent++; sent == n {
					if err := out.Flush(); err != nil {
						return err
					}
				}
			case mq.ErrWouldBlock:
				blocked++
			default:
				return err
			}
		}
		switch b, err := in.TryReceive(); {
		case err == nil:
			if received++; !bytes.Equal(b, msg) {
				return fmt.Errorf("message %d: %d bytes came back of %d", received, len(b), len(msg))
			}
		case err == mq.ErrWouldBlock:
			blocked++
		default:
			return err
		}
		ends := []mq.End{in, out}
		if sent == n {
			ends = ends[:1]
		}
		if blocked == len(ends) {
			if _, err := mq.WaitAny(ctx, ends...); err != nil {
				return err
			}
		}
	}
	return nil
}

// talkerHelper sends for ever on a queue, and says in a number how many messages have been flushed.
func talkerHelper(c *proctest.Child) error {
	s, err := onStage(c)
	if err != nil {
		return err
	}
	q, most := number(c, 4), number(c, 5)
	out, flushed := s.sender(q), &s.cast.Numbers[q%16]
	flushed.Store(0)
	rng := rand.New(rand.NewPCG(3, uint64(q)))
	c.Say("ready")
	for n := uint64(1); ; n++ {
		if err := out.Send(ctx, random(rng, rng.IntN(most))); err != nil {
			return err
		}
		if rng.IntN(4) == 0 {
			if err := out.Flush(); err != nil {
				return err
			}
			flushed.Store(n)
		}
	}
}

// TestSenderIsKilled: at any instruction. Every message that was flushed arrives, each whole and sound, then
// ErrPeerDied.
func TestSenderIsKilled(t *testing.T) {
	kills := 60
	if testing.Short() {
		kills = 10
	}
	for _, ring := range []int{64, 4096, 256 << 10} {
		s := newStage(t, kills, ring)
		rng := rand.New(rand.NewPCG(4, uint64(ring)))
		for q := range kills {
			p := s.start(t, "talker", 1, q, 300)
			var in *mq.Receiver
			enough := uint64(rng.IntN(400))
			if q%4 != 0 {
				in = s.receiver(q)
			} else { // it dies before any process listens
				p.Kill()
				in = s.receiver(q)
			}
			for got := uint64(0); ; got++ {
				if got == enough {
					p.Kill()
				}
				b, err := in.Receive(ctx)
				if err != nil {
					if !errors.Is(err, mq.ErrPeerDied) {
						t.Fatalf("message %d: %v", got, err)
					}
					if flushed := s.cast.Numbers[q%16].Load(); got < flushed {
						t.Fatalf("%d messages arrived, and %d had been flushed", got, flushed)
					}
					break
				}
				if !sound(b) {
					t.Fatalf("message %d of %d bytes is not sound", got, len(b))
				}
			}
		}
	}
}

// listenerHelper receives and checks for ever.
func listenerHelper(c *proctest.Child) error {
	s, err := onStage(c)
	if err != nil {
		return err
	}
	in := s.receiver(number(c, 4))
	c.Say("ready")
	for {
		b, err := in.Receive(ctx)
		if err != nil {
			return err
		}
		if !sound(b) {
			return fmt.Errorf("a message of %d bytes is not sound", len(b))
		}
	}
}

// TestReceiverIsKilled: the sender fills the ring, and then hears of it.
func TestReceiverIsKilled(t *testing.T) {
	kills := 30
	if testing.Short() {
		kills = 5
	}
	for _, ring := range []int{64, 4096} {
		s := newStage(t, kills, ring)
		rng := rand.New(rand.NewPCG(5, uint64(ring)))
		for q := range kills {
			p := s.start(t, "listener", 1, q)
			out := s.sender(q)
			enough := rng.IntN(1000)
			for sent := 0; ; sent++ {
				if sent == enough {
					p.Kill()
				}
				if err := out.Send(ctx, random(rng, rng.IntN(300))); err != nil {
					if !errors.Is(err, mq.ErrPeerDied) || sent < enough {
						t.Fatalf("message %d: %v", sent, err)
					}
					break
				}
			}
		}
	}
}

// TestManySendersAndAKill: several processes send to one, which waits for all of them; they are
// killed one after the other.
func TestManySendersAndAKill(t *testing.T) {
	const n = 4
	s := newStage(t, n, 4096)
	procs := map[*mq.Receiver]*proctest.Process{}
	number := map[*mq.Receiver]int{}
	many := mq.NewMany()
	var all []*mq.Receiver
	for i := range n {
		p := s.start(t, "talker", i+1, i, 200)
		r := s.receiver(i)
		procs[r], number[r] = p, i
		many.Add(r)
		all = append(all, r)
	}
	got := map[*mq.Receiver]uint64{}
	for round := 0; many.Len() > 0; {
		r, b, err := many.Receive(ctx)
		if err != nil {
			if !errors.Is(err, mq.ErrPeerDied) {
				t.Fatal(err)
			}
			if flushed := s.cast.Numbers[number[r]].Load(); got[r] < flushed {
				t.Errorf("%d messages arrived, and %d had been flushed", got[r], flushed)
			}
			continue
		}
		if !sound(b) {
			t.Fatalf("a message of %d bytes is not sound", len(b))
		}
		got[r]++
		if round < n && got[all[round]] >= uint64(1000*(round+1)) {
			procs[all[round]].Kill()
			round++
		}
	}
}

// idlerHelper waits for a message.
func idlerHelper(c *proctest.Child) error {
	s, err := onStage(c)
	if err != nil {
		return err
	}
	in := s.receiver(0)
	c.Say("ready")
	_, err = in.Receive(ctx)
	return err
}

// TestIdleWaiterBurnsNothing: a process that waits for long uses no processor time to speak of.
func TestIdleWaiterBurnsNothing(t *testing.T) {
	s := newStage(t, 1, 64)
	out := s.sender(0)
	p := s.start(t, "idler", 1)
	begin := time.Now()
	<-time.After(2 * time.Second) // what is measured is a time
	if err := errors.Join(out.Send(ctx, nil), out.Flush()); err != nil {
		t.Fatal(err)
	}
	if err := p.Wait(); err != nil {
		t.Fatal(err)
	}
	waited, used := time.Since(begin), p.Cmd.ProcessState.UserTime()+p.Cmd.ProcessState.SystemTime()
	t.Logf("waited %v, and used %v of processor time, its start and end included", waited, used)
	if used > waited/4 { // one that spins uses all of it, on however busy a machine
		t.Error("an idle waiter burns processor time")
	}
}
