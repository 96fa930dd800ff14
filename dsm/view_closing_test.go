package dsm_test

import (
	"context"
	"testing"
	"time"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/testing/instancetest"
)

// TestDetachWhileCloseWaitsKeepsViewedBytes takes a Region first while Close waits for a call in flight, and detaches its
// segment then: the view has ended by the time that the bytes go, and what its end calls stores into no bytes that are
// another mapping's.
func TestDetachWhileCloseWaitsKeepsViewedBytes(t *testing.T) {
	for _, backend := range atEnd() {
		for _, reserved := range []string{"0", "1MB"} {
			t.Run(backend+"/"+reserved, func(t *testing.T) {
				cfg := instancetest.Config(t, backend, "min_dynamic_shared_memory", reserved, "max_segments", "200")
				instancetest.Start(t, cfg)
				other := instancetest.Open(t, cfg)
				s, err := dsm.Open(context.Background(), cfg)
				if err != nil {
					t.Fatal(err)
				}
				g, err := s.Create(context.Background(), s.Owner(), 12000)
				if err != nil {
					t.Fatal(err)
				}
				endCall, err := dsm.BeginCall(s)
				if err != nil {
					t.Fatal(err)
				}
				closed := make(chan error, 1)
				go func() { closed <- s.Close() }()
				<-s.Done() // Close has begun, and waits for the call
				r := g.Region()
				b, berr := r.Bytes(0, 12000)
				ended := 0
				r.View().OnEnd(func() {
					ended++
					if berr == nil {
						b[0] = 0xff
					}
				})
				if err := g.Detach(); err != nil {
					t.Error(err)
				}
				if !r.View().Ended() || ended != 1 {
					t.Errorf("after Detach the view has ended: %v, and what its end calls was called %d times", r.View().Ended(), ended)
				}
				// What is mapped now would be mapped in the place of what is not.
				var fresh [][]byte
				for range 32 {
					f, err := other.Create(context.Background(), other.Owner(), 12000)
					if err != nil {
						t.Fatal(err)
					}
					fresh = append(fresh, f.Bytes())
				}
				for i := range b {
					b[i] = 0xff
				}
				for _, f := range fresh {
					for at, x := range f {
						if x != 0 {
							t.Fatalf("byte %d of another session's segment is %#x", at, x)
						}
					}
				}
				endCall()
				select {
				case err := <-closed:
					if err != nil {
						t.Error(err)
					}
				case <-time.After(time.Minute):
					t.Fatal("Close does not return")
				}
			})
		}
	}
}
