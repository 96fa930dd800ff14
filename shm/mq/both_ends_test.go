package mq_test

import (
	"errors"
	"maps"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/mq"
)

// TestBothEndsOfOneView: a session has both ends of its queues, and its end comes to the other ends first. What is
// called on these ends in between says that the view has ended, not that the other end is detached.
func TestBothEndsOfOneView(t *testing.T) {
	for _, name := range slices.Sorted(maps.Keys(callsOfBoth)) {
		var all shm.View
		first := all.Sub() // ends its ends before all does
		_, here := newBoth(first.Sub(), &all)
		if strings.HasPrefix(name, "Conn.") {
			here.c = must(mq.NewConn(here.s, here.r))
		}
		var err error
		first.OnEnd(func() { err = callsOfBoth[name](here) })
		all.End()
		if !errors.Is(err, mq.ErrClosed) || errors.Is(err, mq.ErrDetached) {
			t.Errorf("%s between the end of the other end and its own: %v", name, err)
		}
		if here.c != nil && !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s is not net.ErrClosed: %v", name, err)
		}
		if here.c != nil {
			_ = here.c.Close()
		}
	}
}

type both struct {
	s *mq.Sender
	r *mq.Receiver
	c *mq.Conn
}

var callsOfBoth = map[string]func(b *both) error{
	"Sender.Send large":   func(b *both) error { return b.s.Send(ctx, make([]byte, 1<<14)) },
	"Sender.TrySend":      func(b *both) error { return b.s.TrySend(nil) },
	"Sender.Flush":        func(b *both) error { return b.s.Flush() },
	"Sender.WaitAttach":   func(b *both) error { return b.s.WaitAttach(ctx) },
	"Receiver.Receive":    func(b *both) error { _, err := b.r.Receive(ctx); return err },
	"Receiver.TryReceive": func(b *both) error { _, err := b.r.TryReceive(); return err },
	"Many.Receive":        func(b *both) error { _, _, err := mq.NewMany(b.r).Receive(ctx); return err },
	"Conn.Read":           func(b *both) error { _, err := b.c.Read(make([]byte, 1)); return err },
	"Conn.Write":          func(b *both) error { _, err := b.c.Write([]byte("x")); return err },
}

// newBoth makes two queues, the ends of which look at the same bytes by two views.
func newBoth(theirs, mine *shm.View) (there, here *both) {
	there, here = &both{}, &both{}
	for i := range 2 {
		r := shm.NewRegion(make([]byte, 1<<12))
		q := must(mq.Create(r.Under(mine)))
		other := must(mq.Attach(r.Under(theirs)))
		if i == 0 {
			here.s, there.r = must(q.Sender(liver(1))), must(other.Receiver(liver(2)))
		} else {
			here.r, there.s = must(q.Receiver(liver(1))), must(other.Sender(liver(2)))
		}
	}
	return there, here
}
