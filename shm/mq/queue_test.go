package mq_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"runtime"
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
	return shmsync.Self{Peer: shmsync.Peer{Row: row, Incarnation: uint32(row) + 1<<31}, Alive: func(p shmsync.Peer) bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return !w.dead[p]
	}}
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

// TestDeath: the dead tell nobody.
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

// random is n bytes, and their sum before them: what arrives is checked.
func random(rng *rand.Rand, n int) []byte {
	b := make([]byte, 8+n)
	for i := range b[8:] {
		b[8+i] = byte(rng.Uint32())
	}
	binary.NativeEndian.PutUint64(b, sum(b[8:]))
	return b
}

func sum(b []byte) uint64 {
	h := uint64(14695981039346656037)
	for _, c := range b {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return h
}

func sound(b []byte) bool {
	return len(b) >= 8 && binary.NativeEndian.Uint64(b) == sum(b[8:])
}

// TestRandomMessages goes through rings of every small size, by all ways to send and receive; under -race it also shows the edges: the counter is
// plain.
func TestRandomMessages(t *testing.T) {
	for _, ring := range []int{8, 16, 24, 40, 64, 104, 1024, 4096} {
		var w world
		s, r := pair(&w, ring)
		n, plain := 2000, 0
		if testing.Short() {
			n = 200
		}
		done := make(chan error)
		go func() {
			rng := rand.New(rand.NewPCG(1, uint64(ring)))
			for i := range n {
				m := random(rng, rng.IntN(3*ring))
				var err error
				plain++
				switch cut := rng.IntN(len(m)); i % 3 {
				case 0:
					err = s.Send(ctx, m)
				case 1:
					err = s.SendV(ctx, m[:cut/2], m[cut/2:cut], nil, m[cut:])
				case 2:
					for err = s.TrySend(m[:cut], m[cut:]); err == mq.ErrWouldBlock; err = s.TrySend(m[:cut], m[cut:]) {
						if _, err := mq.WaitAny(ctx, s); err != nil {
							done <- err
							return
						}
					}
				}
				if err == nil && rng.IntN(10) == 0 {
					err = s.Flush()
				}
				if err != nil {
					done <- err
					return
				}
			}
			s.Detach()
			done <- nil
		}()
		got := 0
		for {
			var b []byte
			var err error
			if got%2 == 0 {
				b, err = r.Receive(ctx)
			} else {
				for b, err = r.TryReceive(); err == mq.ErrWouldBlock; b, err = r.TryReceive() {
					if _, err := mq.WaitAny(ctx, r); err != nil {
						t.Fatal(err)
					}
				}
			}
			if errors.Is(err, mq.ErrDetached) {
				break
			}
			if err != nil || !sound(b) {
				t.Fatalf("ring %d, message %d: %d bytes, sound %v, %v", ring, got, len(b), sound(b), err)
			}
			got++
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if got != n || plain != n {
			t.Errorf("ring %d: %d of %d messages, counted %d", ring, got, n, plain)
		}
	}
}

// TestInPlace: a message in one piece is not copied, and stays until the next call.
func TestInPlace(t *testing.T) {
	var w world
	b := make([]byte, mq.Size(64))
	q := must(mq.Create(shm.NewRegion(b)))
	s, r := must(q.Sender(w.self(1))), must(q.Receiver(w.self(2)))
	for range 20 {
		is(t, "send", s.Send(ctx, []byte("sixteen bytes it")), nil)
		is(t, "flush", s.Flush(), nil)
		m, err := r.Receive(ctx)
		if err != nil || string(m) != "sixteen bytes it" || cap(m) != len(m) {
			t.Fatalf("%q, %v", m, err)
		}
		if ring := b[mq.HeaderSize:]; bytes.Contains(ring, m) {
			m[0] = 'S'
			if !bytes.Contains(ring, m) {
				t.Error("in one piece, and copied")
			}
		}
	}
}

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
