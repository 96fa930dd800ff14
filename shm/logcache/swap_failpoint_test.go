//go:build linux && failpoint

package logcache_test

import (
	"context"
	"errors"
	"testing"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/testing/swaptest"
	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/logcache"
)

// region is a segment of a session of swaptest.
func region(t testing.TB, s *swaptest.Session, handle uint64) (r shm.Region, h uint64) {
	t.Helper()
	create := func() (interface {
		Handle() uint64
		View() *shm.View
		With(func([]byte) error) error
	}, error) {
		if handle == 0 {
			return s.Create(context.Background(), 1<<20)
		}
		return s.Attach(context.Background(), handle)
	}
	g, err := create()
	must(t, err)
	must(t, g.With(func(b []byte) error { r = shm.NewRegion(b).Under(g.View()); return nil }))
	return r, g.Handle()
}

// TestSwapInside: at each point inside of each call the session is closed and its bytes are swapped for zeros, which no
// lease holds up. To the others it is as one that was killed there: the answer is ErrClosed or right, and they find
// all in order.
func TestSwapInside(t *testing.T) {
	for _, use := range uses {
		t.Run(use.name, func(t *testing.T) {
			for nth, came := 0, true; came && nth < 400; nth += 1 + nth/8 {
				came = false
				m := swaptest.New(t)
				one, two := m.Session(1), m.Session(2)
				r, h := region(t, one, 0)
				others, err := logcache.Create(r, one.Self(), logcache.Options{})
				must(t, err)
				for k := range 40 {
					must(t, others.Set(ctx, name(k), text(k, 1, 100), 0))
				}
				must(t, others.Set(ctx, name(41), text(41, 1, 9000), 0))
				r, _ = region(t, two, h)
				mine, err := logcache.Attach(r, two.Self(), logcache.Options{})
				must(t, err)
				n, point := 0, ""
				stop := failpoint.Watch(func(p string) {
					if n++; n == nth+1 {
						came, point = true, p
						two.End()
						two.Swap()
					}
				})
				err = use.call(mine, 3)
				stop()
				if err != nil && !errors.Is(err, logcache.ErrClosed) {
					t.Errorf("swapped at %s, the %dth: %v", point, nth, err)
				}
				if came {
					over(t, mine, others)
				}
				if t.Failed() {
					t.Fatalf("swapped at %s, the %dth", point, nth)
				}
				must(t, one.Close())
				must(t, two.Close())
			}
		})
	}
}
