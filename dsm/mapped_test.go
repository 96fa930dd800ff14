package dsm_test

import (
	"bytes"
	"fmt"
	"runtime"
	"testing"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/dsmimpl"
	"github.com/godsm/godsm/dsmimpl/catalog"
	"github.com/godsm/godsm/internal/instancetest"
	"github.com/godsm/godsm/shm"
)

// unable is a backend that can't swap.
type unable struct{ dsmimpl.Backend }

// TestWithoutSwap: where nothing can be swapped, bytes with a view stay mapped as long as the view is in use. In the region
// they stay the session's as long, since their pages would go to others.
func TestWithoutSwap(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("skipped: on Windows bytes are unmapped at once")
	}
	for _, reserved := range []string{"0", "64kB"} {
		for _, by := range []string{"detach", "close"} {
			t.Run(fmt.Sprint(reserved, "/", by), func(t *testing.T) {
				real, err := catalog.New(catalog.Default(), "")
				if err != nil {
					t.Fatal(err)
				}
				cfg := instancetest.Config(t, real.Name(), "min_dynamic_shared_memory", reserved)
				instancetest.Start(t, cfg)
				other := instancetest.Open(t, cfg)
				cfg.Backend = &unable{real}
				s := instancetest.Open(t, cfg)
				g := create(t, s, 4096)
				r := g.Region()
				b, _ := r.Bytes(0, 4096)
				if by == "detach" {
					err = g.Detach()
				} else {
					err = s.Close()
				}
				if err != nil {
					t.Fatal(err)
				}
				fill := bytes.Repeat([]byte{0x55}, 4096)
				var fresh []*dsm.Segment
				for range 20 {
					f := create(t, other, 4096)
					copy(f.Bytes(), fill)
					fresh = append(fresh, f)
				}
				if !r.View().Ended() {
					t.Error("the view has not ended")
				}
				copy(b, bytes.Repeat([]byte{0xee}, 4096))
				for _, f := range fresh {
					if !bytes.Equal(f.Bytes(), fill) {
						t.Fatal("a late store has reached another segment")
					}
				}
				i, there := info(t, other, g.Handle())
				if there != (reserved != "0") || there && i.Refs != 1 {
					t.Errorf("in use: %v, %+v", there, i)
				}
				r = shm.Region{}
				instancetest.Eventually(t, "what is in use no longer goes", func() bool {
					runtime.GC()
					_, there := info(t, other, g.Handle())
					list, err := other.Sessions(ctx)
					return !there && err == nil && (by == "detach" || len(list) == 1)
				})
			})
		}
	}
}
