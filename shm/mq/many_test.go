package mq_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/godsm/godsm/shm/mq"
)

func TestManyReceivesInTurn(t *testing.T) {
	var w world
	const n = 8
	m := mq.NewMany()
	var wg sync.WaitGroup
	whose := map[*mq.Receiver]int{}
	for i := range n {
		s, r := pair(&w, 256)
		whose[r] = i
		m.Add(r)
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(2, uint64(i)))
			for range 500 {
				if err := s.Send(ctx, random(rng, rng.IntN(100))); err != nil {
					t.Error(err)
				}
				if rng.IntN(20) == 0 {
					s.Flush()
					runtime.Gosched()
				}
			}
			s.Detach()
		})
	}
	var got [n]int
	ended := 0
	for m.Len() > 0 {
		r, b, err := m.Receive(ctx)
		switch {
		case errors.Is(err, mq.ErrDetached):
			ended++
		case err != nil || !sound(b):
			t.Fatalf("%d bytes, %v", len(b), err)
		default:
			got[whose[r]]++
		}
	}
	wg.Wait()
	for i, k := range got {
		if k != 500 {
			t.Errorf("%d of 500 messages of sender %d", k, i)
		}
	}
	if r, _, err := m.Receive(ctx); r != nil || !errors.Is(err, mq.ErrDetached) || ended != n {
		t.Errorf("at the end: %v, %v; %d ended", r, err, ended)
	}
	_, err := mq.WaitAny(ctx)
	if err == nil {
		t.Error("WaitAny of nothing")
	}
}

// TestManyOutlivesOne: the death of one sender is told once, and the others go on.
func TestManyOutlivesOne(t *testing.T) {
	var w world
	qa, qb := newQueue(64), newQueue(64)
	sa, sb := must(qa.Sender(w.self(1))), must(qb.Sender(w.self(3)))
	ra, rb := must(qa.Receiver(w.self(2))), must(qb.Receiver(w.self(2)))
	m := mq.NewMany(ra, rb)
	sa.Send(ctx, []byte("last words"))
	sa.Flush()
	w.kill(1)
	if r, b, err := m.Receive(ctx); r != ra || string(b) != "last words" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
	if r, _, err := m.Receive(ctx); r != ra || !errors.Is(err, mq.ErrPeerDied) {
		t.Errorf("%v", err)
	}
	sb.Send(ctx, []byte("alive"))
	sb.Flush()
	if r, b, err := m.Receive(ctx); r != rb || string(b) != "alive" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
	over, cancel := context.WithTimeout(ctx, 5*time.Millisecond)
	defer cancel()
	if r, _, err := m.Receive(over); r != nil || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}
