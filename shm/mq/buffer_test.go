package mq_test

import (
	"runtime"
	"testing"
)

// TestBufferShrinks: a receiver does not keep the memory of its largest message.
func TestBufferShrinks(t *testing.T) {
	for _, small := range []int{1, 400, 900} { // in place, and copied since it is larger than the ring or lies around its end
		var w world
		s, r := pair(&w, 512)
		sent := make(chan error, 1)
		send := func(n int) {
			go func() {
				err := s.Send(ctx, make([]byte, n))
				if err == nil {
					err = s.Flush()
				}
				sent <- err
			}()
			b, err := r.Receive(ctx)
			if len(b) != n || err != nil {
				t.Fatalf("%d bytes of %d, %v", len(b), n, err)
			}
			is(t, "send", <-sent, nil)
		}
		for _, large := range []struct{ size, smaller, bound int }{
			{6 << 20, 100, 4 << 20}, {32 << 20, 1, 16 << 20},
		} {
			send(large.size)
			for range large.smaller {
				send(small)
			}
			var m runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&m)
			if int(m.HeapAlloc) > large.bound {
				t.Errorf("after a message of %d bytes, and %d of %d, the heap has %d KiB",
					large.size, large.smaller, small, m.HeapAlloc>>10)
			}
		}
		send(100 << 10)
		runtime.KeepAlive(r)
	}
}
