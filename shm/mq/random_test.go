package mq_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/mq"
)

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

// TestRandomMessages goes through rings of every small size, by all ways to send and receive; under -race it also
// shows the edges: the counter is plain.
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
