package area_test

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/godsm/godsm/area"
	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/catalog"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/shm/dsa"
	"github.com/godsm/godsm/shm/dshash"
)

// TestFaultEndsEntryOfDetachedArea has a goroutine detach an area while it holds an entry in it, then meet a fault: what
// Contain gives back is the last that keeps the area's segments, so they go.
func TestFaultEndsEntryOfDetachedArea(t *testing.T) {
	for _, backend := range []string{"posix", "mmap"} {
		for _, exclusive := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, exclusive %v", backend, exclusive), func(t *testing.T) {
				if !slices.Contains(catalog.Native(), backend) {
					t.Skipf("skipped: there is no %s here", backend)
				}
				cfg := instancetest.Config(t, backend)
				instancetest.Start(t, cfg)
				s := instancetest.Open(t, cfg)
				short, err := s.Create(ctx, s.Owner(), 4096)
				if err != nil {
					t.Fatal(err)
				}
				gone := short.Bytes()
				before := segments(t, s)
				a, err := area.Create(ctx, s, s.Owner(), dsa.Options{})
				if err != nil {
					t.Fatal(err)
				}
				tab, err := dshash.Create[uint64, uint64](a, dshash.Options{Partitions: 2})
				if err != nil {
					t.Fatal(err)
				}
				if err := tab.Set(ctx, 1, 1); err != nil {
					t.Fatal(err)
				}
				at := slices.IndexFunc(before, func(i dsm.SegmentInfo) bool { return i.Handle == short.Handle() })
				if err := os.Truncate(before[at].OSName, 0); err != nil {
					t.Skipf("skipped: %v", err)
				}
				err = s.Contain(func() error {
					find := tab.Find
					if exclusive {
						find = tab.FindExclusive
					}
					if _, found, err := find(ctx, 1); err != nil || !found {
						return err
					}
					if err := a.Detach(); err != nil {
						return err
					}
					if n := len(segments(t, s)); n <= len(before) {
						t.Errorf("%d segments are left while the entry is held, %d before there was an area", n, len(before))
					}
					gone[0] = 1
					return nil
				})
				if !errors.Is(err, dsm.ErrCorrupt) {
					t.Errorf("Contain = %v, want ErrCorrupt", err)
				}
				if after := segments(t, s); len(after) != len(before) {
					t.Errorf("%d segments are left, %d before there was an area", len(after), len(before))
				}
			})
		}
	}
}

// TestQuestionAboutATruncatedArea has another session ask one, which does nothing, to look after an area that has been
// truncated: the fault is in a goroutine of the library's own, and ends nothing but that look.
func TestQuestionAboutATruncatedArea(t *testing.T) {
	for _, backend := range []string{"posix", "mmap"} {
		t.Run(backend, func(t *testing.T) {
			if !slices.Contains(catalog.Native(), backend) {
				t.Skipf("skipped: there is no %s here", backend)
			}
			cfg := instancetest.Config(t, backend)
			instancetest.Start(t, cfg)
			s, idle := instancetest.Open(t, cfg), instancetest.Open(t, cfg)
			if _, err := area.Create(ctx, idle, idle.Owner(), dsa.Options{}); err != nil {
				t.Fatal(err)
			}
			for _, i := range segments(t, s) {
				if err := os.Truncate(i.OSName, 0); err != nil {
					t.Skipf("skipped: %v", err)
				}
			}
			asked := make(chan struct{}, 1)
			stop := idle.Self().OnAsk(func() { // it is called after the area's
				select {
				case asked <- struct{}{}:
				default:
				}
			})
			defer stop()
			s.Self().Ask(idle.Self().Peer)
			<-asked
		})
	}
}

func segments(t *testing.T, s *dsm.Session) []dsm.SegmentInfo {
	t.Helper()
	list, err := s.Segments(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return list
}
