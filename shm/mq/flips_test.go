package mq_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/mq"
	"github.com/godsm/godsm/shm/shmsync"
)

// TestEveryBitOfAQueue flips each bit of a queue's header in each of its states, as a stray store does. What is sent
// arrives, waits end, and each end learns of the other one's Detach or death.
func TestEveryBitOfAQueue(t *testing.T) {
	states := map[string]func(x *flipped){
		"nobody has come":     func(x *flipped) { x.flip(); x.attach(); x.finish("") },
		"named":               func(x *flipped) { x.name(); x.flip(); x.attach(); x.finish("") },
		"both have come":      func(x *flipped) { x.attach(); x.flip(); x.finish("") },
		"messages are there":  func(x *flipped) { x.attach(); x.send(2); x.flip(); x.finish("") },
		"the receiver waits":  func(x *flipped) { x.attach(); x.receiving(); x.flip(); x.finish("receiver") },
		"the sender waits":    func(x *flipped) { x.attach(); x.sending(); x.flip(); x.finish("sender") },
		"the sender has left": func(x *flipped) { x.attach(); x.send(2); x.leave(); x.flip(); x.finish("") },
		"the sender has died": func(x *flipped) { x.attach(); x.send(2); x.die(); x.flip(); x.finish("") },
	}
	var wg sync.WaitGroup
	room := make(chan struct{}, 32)
	for name, play := range states {
		for bit := range mq.HeaderSize * 8 {
			if testing.Short() && bit%5 != 0 {
				continue
			}
			room <- struct{}{}
			wg.Go(func() {
				defer func() { <-room }()
				x := newFlipped(t, fmt.Sprintf("%s, bit %d", name, bit), bit)
				defer x.cancel()
				play(x)
			})
		}
	}
	wg.Wait()
}

// flipped is a queue of which one bit is hit.
type flipped struct {
	testing.TB
	what             string
	bit              int
	ctx              context.Context
	cancel           func()
	w                *world
	sender, receiver shmsync.Self
	region           shm.Region
	words            []atomic.Uint32
	s                *mq.Sender
	r                *mq.Receiver
	sent, got        int
	done             chan error // of the one that waits
	over             error      // what the receiver finds in the end
}

func newFlipped(t testing.TB, what string, bit int) *flipped {
	x := &flipped{TB: t, what: what, bit: bit, w: &world{}, over: mq.ErrDetached, done: make(chan error, 1)}
	x.ctx, x.cancel = context.WithTimeout(ctx, 30*time.Second)
	x.region = shm.NewRegion(make([]byte, mq.Size(64)))
	x.words = must(shm.SliceOf[atomic.Uint32](x.region, 0, mq.HeaderSize/4))
	must(mq.Create(x.region))
	x.sender, x.receiver = x.w.self(0), x.w.self(2)
	return x
}

func (x *flipped) flip() {
	w := &x.words[x.bit/32]
	for v := w.Load(); !w.CompareAndSwap(v, v^1<<(x.bit%32)); v = w.Load() {
	}
}

func (x *flipped) name() {
	q := must(mq.Attach(x.region))
	x.check(q.SetSender(x.sender.Peer))
	x.check(q.SetReceiver(x.receiver.Peer))
}

// attach takes both ends, unless the word that says what this is has been hit.
func (x *flipped) attach() {
	q, err := mq.Attach(x.region)
	if err != nil {
		if x.bit >= 64 || !errors.Is(err, mq.ErrNotFound) && !errors.Is(err, mq.ErrVersion) {
			x.Errorf("%s: Attach = %v", x.what, err)
		}
		return
	}
	x.s, err = q.Sender(x.sender)
	x.check(err)
	x.r, err = q.Receiver(x.receiver)
	x.check(err)
}

func (x *flipped) check(err error) {
	if err != nil {
		x.Errorf("%s: %v", x.what, err)
	}
}

func (x *flipped) send(n int) {
	for range n {
		x.check(x.s.Send(x.ctx, fmt.Appendf(nil, "message %d", x.sent)))
		x.check(x.s.Flush())
		x.sent++
	}
}

func (x *flipped) receive() error {
	b, err := x.r.Receive(x.ctx)
	if want := fmt.Sprintf("message %d", x.got); err == nil && string(b) != want {
		err = fmt.Errorf("received %q instead of %q", b, want)
	}
	x.got++
	return err
}

// Where an end says that it sleeps, in words.
const (
	senderSleeps   = (64 + 72) / 4
	receiverSleeps = (192 + 72) / 4
)

func (x *flipped) receiving() {
	go func() { x.done <- x.receive() }()
	for x.words[receiverSleeps].Load()&1 == 0 {
		runtime.Gosched()
	}
}

func (x *flipped) sending() {
	for ; ; x.sent++ {
		if err := x.s.TrySend(fmt.Appendf(nil, "message %d", x.sent)); err != nil {
			break
		}
	}
	go func() {
		err := x.s.Send(x.ctx, fmt.Appendf(nil, "message %d", x.sent))
		x.done <- errors.Join(err, x.s.Flush())
	}()
	for x.words[senderSleeps].Load()&1 == 0 {
		runtime.Gosched()
	}
}

func (x *flipped) leave() {
	x.s.Detach()
	x.s = nil
}

func (x *flipped) die() {
	x.w.kill(x.sender.Peer.Row)
	x.s, x.over = nil, mq.ErrPeerDied
}

// finish sends and receives what is left, and ends the queue.
func (x *flipped) finish(waits string) {
	if x.r == nil {
		return
	}
	switch waits {
	case "receiver":
		x.send(1)
		x.check(<-x.done)
	case "sender":
		for x.got < x.sent {
			x.check(x.receive())
		}
		x.check(<-x.done)
		x.sent++
	}
	for range 3 {
		for x.got < x.sent {
			x.check(x.receive())
		}
		if x.s != nil {
			x.send(1)
		}
	}
	for x.got < x.sent {
		x.check(x.receive())
	}
	if x.s != nil {
		x.leave()
	}
	if err := x.receive(); !errors.Is(err, x.over) {
		x.Errorf("%s: in the end Receive = %v, want %v", x.what, err, x.over)
	}
	x.r.Detach()
}
