package mq_test

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/mq"
	"github.com/godsm/godsm/shm/shmsync"
)

// world is a set of peers that live until they are killed.
type world struct {
	mu   sync.Mutex
	dead map[shmsync.Peer]bool
}

func (w *world) self(row int) shmsync.Self {
	return shmsync.Self{
		Peer: shmsync.Peer{Row: row, Incarnation: uint32(row) + 1<<31},
		Alive: func(p shmsync.Peer) bool {
			w.mu.Lock()
			defer w.mu.Unlock()
			return !w.dead[p]
		},
	}
}

func (w *world) kill(row int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.dead == nil {
		w.dead = map[shmsync.Peer]bool{}
	}
	w.dead[w.self(row).Peer] = true
}

// region is zero bytes of the heap.
func region(n int) shm.Region {
	escaped = make([]byte, n)
	return shm.NewRegion(escaped)
}

var escaped []byte

func newQueue(ring int) *mq.Queue { return must(mq.Create(region(mq.Size(ring)))) }

// pair is both ends of a new queue, by peers 1 and 2.
func pair(w *world, ring int) (*mq.Sender, *mq.Receiver) {
	q := newQueue(ring)
	return must(q.Sender(w.self(1))), must(q.Receiver(w.self(2)))
}

func is(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

func TestCreateAndAttach(t *testing.T) {
	r := region(mq.Size(100))
	_, err := mq.Attach(r)
	is(t, "attach before create", err, mq.ErrNotFound)
	must(mq.Create(r))
	must(mq.Attach(r))
	_, err = mq.Create(r)
	is(t, "create twice", err, mq.ErrExists)
	for n := range mq.Size(8) {
		_, err = mq.Create(region(n))
		is(t, "a region too small", err, mq.ErrSize)
	}
	must(mq.Create(region(mq.Size(8))))
	_, err = mq.Attach(shm.NewRegion(must(r.Bytes(0, mq.HeaderSize))))
	is(t, "the ring is outside", err, mq.ErrCorrupt)
	_, err = mq.Attach(region(10))
	is(t, "no room for a header", err, mq.ErrCorrupt)
}

func TestEndsComeInAnyOrder(t *testing.T) {
	var w world
	one, two, three := w.self(1), w.self(2), w.self(3)
	type step func(q *mq.Queue) error
	sender := func(s shmsync.Self) step { return func(q *mq.Queue) error { _, err := q.Sender(s); return err } }
	receiver := func(s shmsync.Self) step { return func(q *mq.Queue) error { _, err := q.Receiver(s); return err } }
	setS := func(s shmsync.Self) step { return func(q *mq.Queue) error { return q.SetSender(s.Peer) } }
	setR := func(s shmsync.Self) step { return func(q *mq.Queue) error { return q.SetReceiver(s.Peer) } }
	for _, c := range []struct {
		name  string
		steps []step
		last  error // of the last step; the others succeed
	}{
		{"sender first", []step{sender(one), receiver(two)}, nil},
		{"receiver first", []step{receiver(two), sender(one)}, nil},
		{"named by others", []step{setR(two), setS(one), sender(one), receiver(two)}, nil},
		{"named twice", []step{setS(one), setS(one)}, nil},
		{"named when there", []step{sender(one), setS(one)}, nil},
		{"both by one", []step{sender(one), receiver(one)}, nil},
		{"two senders", []step{sender(one), sender(two)}, mq.ErrExists},
		{"the sender again", []step{sender(one), sender(one)}, mq.ErrExists},
		{"two receivers", []step{receiver(one), receiver(two)}, mq.ErrExists},
		{"another was named", []step{setS(one), sender(three)}, mq.ErrExists},
		{"two are named", []step{setR(one), setR(three)}, mq.ErrExists},
	} {
		q := newQueue(64)
		for i, s := range c.steps {
			want := error(nil)
			if i == len(c.steps)-1 {
				want = c.last
			}
			if err := s(q); !errors.Is(err, want) {
				t.Errorf("%s, step %d: %v, want %v", c.name, i, err, want)
			}
		}
	}
}

// TestSendBeforeReceiverComes: messages wait in the ring, and survive their sender's leaving.
func TestSendBeforeReceiverComes(t *testing.T) {
	var w world
	q := newQueue(64)
	s := must(q.Sender(w.self(1)))
	if err := s.Send(ctx, []byte("early")); err != nil {
		t.Fatal(err)
	}
	s.Detach()
	r := must(q.Receiver(w.self(2)))
	if b, err := r.Receive(ctx); err != nil || string(b) != "early" {
		t.Errorf("%q, %v", b, err)
	}
	_, err := r.Receive(ctx)
	is(t, "after the last", err, mq.ErrDetached)
	_, err = r.TryReceive()
	is(t, "and again", err, mq.ErrDetached)
}

func TestWaitAttach(t *testing.T) {
	var w world
	q := newQueue(64)
	r := must(q.Receiver(w.self(2)))
	over, cancel := context.WithCancelCause(ctx)
	why := errors.New("never started")
	cancel(why)
	is(t, "nobody comes", r.WaitAttach(over), why)
	done := make(chan error)
	go func() { done <- r.WaitAttach(ctx) }()
	s := must(q.Sender(w.self(1)))
	is(t, "it came", <-done, nil)
	is(t, "it is there", s.WaitAttach(ctx), nil)
	r.Detach()
	is(t, "it has gone", s.WaitAttach(ctx), mq.ErrDetached)

	q = newQueue(64)
	r = must(q.Receiver(w.self(2)))
	go func() { done <- r.WaitAttach(ctx) }()
	if err := q.SetSender(w.self(3).Peer); err != nil {
		t.Fatal(err)
	}
	w.kill(3)
	is(t, "it was named and died", <-done, mq.ErrPeerDied)
}

// TestFlush: what is sent is published in batches.
func TestFlush(t *testing.T) {
	var w world
	s, r := pair(&w, 1024)
	for range 3 {
		is(t, "send", s.Send(ctx, make([]byte, 24)), nil)
	}
	_, err := r.TryReceive()
	is(t, "not published", err, mq.ErrWouldBlock)
	is(t, "flush", s.Flush(), nil)
	for range 3 {
		_, err = r.TryReceive()
		is(t, "published", err, nil)
	}
	for range 9 { // 9 * 32 bytes are more than a quarter
		is(t, "send", s.Send(ctx, make([]byte, 24)), nil)
	}
	_, err = r.TryReceive()
	is(t, "a quarter is published", err, nil)
}

func TestWouldBlock(t *testing.T) {
	var w world
	s, r := pair(&w, 64)
	is(t, "half the ring", s.TrySend(make([]byte, 24)), nil)
	is(t, "the other half", s.TrySend(make([]byte, 24)), nil)
	is(t, "full", s.TrySend([]byte("x")), mq.ErrWouldBlock)
	is(t, "withdrawn, another instead", s.TrySend([]byte("another")), mq.ErrWouldBlock)
	short, cancel := context.WithTimeout(ctx, 5*time.Millisecond)
	defer cancel()
	is(t, "no room in time", s.Send(short, []byte("x")), context.DeadlineExceeded)
	for range 2 {
		b, err := r.TryReceive()
		if err != nil || len(b) != 24 {
			t.Errorf("%d bytes, %v", len(b), err)
		}
	}
	_, err := r.TryReceive()
	is(t, "empty", err, mq.ErrWouldBlock)
	is(t, "room again", s.TrySend([]byte("third")), nil)

	long := bytes.Repeat([]byte("0123456789"), 30)
	for {
		if err := s.TrySend(long[:100], nil, long[100:]); err == nil {
			break
		} else if err != mq.ErrWouldBlock {
			t.Fatal(err)
		}
		if err := s.TrySend([]byte("x")); err == nil || err == mq.ErrWouldBlock {
			t.Fatalf("another message in the middle of one: %v", err)
		}
		b, err := r.TryReceive()
		if err == nil && string(b) != "third" {
			t.Errorf("%q before it was all there", b)
		}
	}
	is(t, "flush", s.Flush(), nil)
	if b, err := r.TryReceive(); err != nil || !bytes.Equal(b, long) {
		t.Errorf("%d bytes, %v", len(b), err)
	}
}

func TestSizes(t *testing.T) {
	var w world
	s, _ := pair(&w, 64)
	if ^uint(0)>>32 != 0 {
		big := make([]byte, 1<<20)
		parts := make([][]byte, 1024)
		for i := range parts {
			parts[i] = big
		}
		is(t, "a message that is too long", s.SendV(ctx, parts...), mq.ErrSize)
	}
	is(t, "another", s.Send(ctx, nil), nil)
}
