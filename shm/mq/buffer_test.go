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
		const huge = 32 << 20
		send(huge)
		for range 100 {
			send(small)
		}
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		if m.HeapAlloc > huge/2 {
			t.Errorf("after 100 messages of %d bytes the heap has %d MiB", small, m.HeapAlloc>>20)
		}
		send(100 << 10)
		runtime.KeepAlive(r)
	}
}
