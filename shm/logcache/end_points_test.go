//go:build linux && failpoint

package logcache_test

import (
	"errors"
	"testing"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/shm/logcache"
)

// TestEndAtEachPoint ends the bytes at each point inside each call, as a Detach does, which leases hold up. The answer
// is right or ErrClosed, and the others find all in order.
func TestEndAtEachPoint(t *testing.T) {
	for _, use := range uses {
		t.Run(use.name, func(t *testing.T) {
			for nth, came := 0, true; came && nth < 400; nth += 1 + nth/8 {
				came = false
				b, mine, others := pair(t)
				n, point := 0, ""
				stop := failpoint.Watch(func(p string) {
					if n++; n == nth+1 {
						came, point = true, p
						b.End()
					}
				})
				err := use.call(mine, 3)
				stop()
				if err != nil && !errors.Is(err, logcache.ErrClosed) {
					t.Errorf("ended at %s, the %dth: %v", point, nth, err)
				}
				if came {
					over(t, mine, others)
				}
				others.Close()
			}
		})
	}
}
