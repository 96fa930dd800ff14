package mq_test

import (
	"context"
	"errors"
	"testing"

	"github.com/godsm/godsm/shm/mq"
)

func TestDetach(t *testing.T) {
	var w world
	t.Run("half a message", func(t *testing.T) {
		s, r := pair(&w, 64)
		is(t, "send", s.Send(ctx, []byte("whole")), nil)
		is(t, "send", s.TrySend(make([]byte, 1000)), mq.ErrWouldBlock)
		s.Detach()
		s.Detach()
		if b, err := r.Receive(ctx); err != nil || string(b) != "whole" {
			t.Errorf("%q, %v", b, err)
		}
		_, err := r.Receive(ctx)
		is(t, "receive", err, mq.ErrDetached)
		is(t, "send when detached", s.Send(ctx, nil), mq.ErrClosed)
		is(t, "flush when detached", s.Flush(), mq.ErrClosed)
		_, err = mq.WaitAny(ctx, s)
		is(t, "wait when detached", err, nil)
	})
	t.Run("receiver", func(t *testing.T) {
		s, r := pair(&w, 64)
		done := make(chan error)
		go func() { done <- s.Send(ctx, make([]byte, 1000)) }()
		if _, err := mq.WaitAny(ctx, r); err != nil {
			t.Error(err)
		}
		r.Detach()
		is(t, "a send that waits", <-done, mq.ErrDetached)
		is(t, "send", s.Send(ctx, nil), mq.ErrDetached)
		is(t, "flush", s.Flush(), mq.ErrDetached)
		_, err := r.Receive(ctx)
		is(t, "receive when detached", err, mq.ErrClosed)
	})
}

// TestDeath: the dead tell no process.
func TestDeath(t *testing.T) {
	var w world
	for _, c := range []struct {
		name string
		left func(s *mq.Sender) // what the sender leaves
		want int                // whole messages
	}{
		{"nothing", func(s *mq.Sender) {}, 0},
		{"messages", func(s *mq.Sender) { s.Send(ctx, nil); s.Send(ctx, []byte("two")); s.Flush() }, 2},
		{"half a message", func(s *mq.Sender) { s.Send(ctx, nil); s.TrySend(make([]byte, 1000)) }, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			var w world
			s, r := pair(&w, 256)
			c.left(s)
			w.kill(1)
			for range c.want {
				_, err := r.Receive(ctx)
				is(t, "what was published", err, nil)
			}
			_, err := r.Receive(ctx)
			is(t, "then", err, mq.ErrPeerDied)
			_, err = r.TryReceive()
			is(t, "and again", err, mq.ErrPeerDied)
			if i, err := mq.WaitAny(ctx, r); i != 0 || err != nil {
				t.Errorf("WaitAny = %d, %v", i, err)
			}
		})
	}
	s, _ := pair(&w, 64)
	w.kill(2)
	is(t, "there is room", s.Send(ctx, make([]byte, 20)), nil)
	is(t, "there is none", s.Send(ctx, make([]byte, 100)), mq.ErrPeerDied)
}

// TestContext: a context that is over ends a wait, and loses against a message that is there.
func TestContext(t *testing.T) {
	var w world
	s, r := pair(&w, 64)
	over, cancel := context.WithCancelCause(ctx)
	why := errors.New("enough")
	done := make(chan error)
	go func() { _, err := r.Receive(over); done <- err }()
	cancel(why)
	is(t, "receive", <-done, why)
	is(t, "send", s.Send(over, []byte("x")), nil)
	is(t, "flush", s.Flush(), nil)
	_, err := r.Receive(over)
	is(t, "there is one", err, nil)
	_, err = mq.WaitAny(over, r)
	is(t, "wait", err, why)
	if i, err := mq.WaitAny(over, r, s); i != 1 || err != nil {
		t.Errorf("WaitAny = %d, %v", i, err)
	}
}
