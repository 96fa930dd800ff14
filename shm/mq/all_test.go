package mq_test

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"testing"

	"github.com/godsm/godsm/shm/mq"
)

// TestAllEndsWithTheSender: the loop gets each message, and ends without an error when the sender has detached, with one
// when its process has died, or the context is over.
func TestAllEndsWithTheSender(t *testing.T) {
	var cancel context.CancelFunc
	for how, c := range map[string]struct {
		end  func(w *world, s *mq.Sender)
		want error
	}{
		"detached": {func(_ *world, s *mq.Sender) { s.Detach() }, nil},
		"died":     {func(w *world, s *mq.Sender) { must(0, s.Flush()); w.kill(1) }, mq.ErrPeerDied},
		"canceled": {func(_ *world, s *mq.Sender) { must(0, s.Flush()); cancel() }, context.Canceled},
	} {
		var over context.Context
		over, cancel = context.WithCancel(ctx)
		w := new(world)
		s, r := pair(w, 1<<10)
		for _, m := range []string{"one", "", "three"} {
			must(0, s.Send(ctx, []byte(m)))
		}
		c.end(w, s)
		var got []string
		var last error
		for b, err := range r.All(over) {
			if last = err; err == nil {
				got = append(got, string(b))
			}
		}
		if !slices.Equal(got, []string{"one", "", "three"}) || !errors.Is(last, c.want) || (last == nil) != (c.want == nil) {
			t.Errorf("%s: %q, %v", how, got, last)
		}
		cancel()
	}
}

// TestAllLeftEarly: a loop that is left in any way has taken the messages that its body has seen, and no more.
func TestAllLeftEarly(t *testing.T) {
	s, r := pair(new(world), 1<<10)
	for _, m := range []string{"break", "panic", "goexit", "rest"} {
		must(0, s.Send(ctx, []byte(m)))
	}
	s.Detach()
	for _, leave := range []func(){nil, func() { panic("the body") }, runtime.Goexit} {
		over := make(chan bool)
		go func() {
			defer func() { recover(); close(over) }()
			for range r.All(ctx) {
				if leave == nil {
					break
				}
				leave()
			}
		}()
		<-over
	}
	for b, err := range r.All(ctx) {
		if string(b) != "rest" || err != nil {
			t.Errorf("%q, %v", b, err)
		}
	}
}
