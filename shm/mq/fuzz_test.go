package mq_test

import (
	"context"
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"github.com/godsm/godsm/internal/onebit"
	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/mq"
)

// FuzzHostile: whatever a neighbour wrote over a queue, before attaching or in between, calls end,
// and nothing outside is read.
func FuzzHostile(f *testing.F) {
	f.Add([]byte{}, []byte{}, uint8(0))
	f.Add([]byte("sixteen bytes it"), []byte{1}, uint8(3))
	for _, at := range []int{64, 192} { // both positions
		head := make([]byte, mq.HeaderSize)
		head[at], head[at+1] = 255, 1
		f.Add([]byte{}, head, uint8(1))
	}
	f.Fuzz(func(t *testing.T, before, between []byte, script uint8) {
		var w world
		b := make([]byte, mq.Size(128))
		escaped = b
		must(mq.Create(shm.NewRegion(b)))
		garble(b, before)
		q, err := mq.Attach(shm.NewRegion(b))
		if err != nil {
			return
		}
		short, cancel := context.WithTimeout(ctx, 2*time.Millisecond)
		defer cancel()
		s, serr := q.Sender(w.self(1))
		r, rerr := q.Receiver(w.self(2))
		for i := range 8 {
			if i == int(script%8) {
				garble(b, between)
			}
			if serr == nil {
				_ = s.Send(short, make([]byte, int(script)%100*i))
				_ = s.TrySend([]byte("x"), nil)
				_ = s.Flush()
			}
			if rerr == nil {
				m, err := r.Receive(short)
				if err == nil {
					_ = append([]byte(nil), m...)
				}
				if _, again := r.TryReceive(); errors.Is(err, mq.ErrCorrupt) && again == nil {
					t.Error("a queue that was corrupt is trusted again")
				}
			}
			if serr == nil && rerr == nil {
				_, _ = mq.WaitAny(short, s, r)
			}
		}
		if serr == nil {
			_ = s.WaitAttach(short)
			s.Detach()
		}
		if rerr == nil {
			_ = r.WaitAttach(short)
			r.Detach()
		}
	})
}

// garble lays data over b; zeros change nothing.
func garble(b, data []byte) {
	for i := range min(len(b), len(data)) {
		if data[i] != 0 {
			b[i] ^= data[i]
		}
	}
}

// TestHostile: positions and lengths that can't be.
func TestHostile(t *testing.T) {
	for _, c := range []struct {
		name string
		at   int // of a word,
		word uint64
		recv bool // whom it hits
	}{
		{"written too far", 64, onebit.Word(1 << 16), true},
		{"written crooked", 64, onebit.Word(3), true},
		{"written backwards", 64, onebit.Word(255 << 48), true},
		{"read too far", 192, onebit.Word(1 << 16), false},
		{"read crooked", 192, onebit.Word(3), false},
		{"a length beyond all", mq.HeaderSize, 1 << 40, true},
		{"a negative length", mq.HeaderSize, 255 << 56, true},
	} {
		var w world
		b := make([]byte, mq.Size(64))
		escaped = b
		q := must(mq.Create(shm.NewRegion(b)))
		s, r := must(q.Sender(w.self(1))), must(q.Receiver(w.self(2)))
		is(t, c.name, s.Send(ctx, make([]byte, 40)), nil)
		is(t, c.name, s.Flush(), nil)
		store(b, c.at, c.word)
		if c.recv {
			_, err := r.Receive(ctx)
			is(t, c.name, err, mq.ErrCorrupt)
			_, err = r.TryReceive()
			is(t, c.name, err, mq.ErrCorrupt)
		} else {
			is(t, c.name, s.Send(ctx, make([]byte, 40)), mq.ErrCorrupt)
			is(t, c.name, s.Flush(), mq.ErrCorrupt)
		}
	}
	b := make([]byte, mq.Size(64))
	q := must(mq.Create(shm.NewRegion(b)))
	store(b, 8, onebit.Word(72))
	_, err := mq.Attach(shm.NewRegion(b))
	is(t, "the ring's size", err, mq.ErrCorrupt)
	store(b, 8, onebit.Word(64))
	store(b, 192, onebit.Word(8))
	var w world
	_, err = q.Sender(w.self(1))
	is(t, "the receiver is ahead", err, mq.ErrCorrupt)
}

// store stores the word at that offset.
func store(b []byte, at int, w uint64) { binary.NativeEndian.PutUint64(b[at:], w) }
