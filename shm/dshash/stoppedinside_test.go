//go:build linux && failpoint

package dshash_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/internal/testing/proctest"
	"github.com/godsm/godsm/shm/dsa"
	"golang.org/x/sys/unix"
)

// TestStoppedInside stops a session at each step of a change in place, and of an array's change. Others wait for it as
// long as their contexts say, and for nothing else: lookups that need no lock are answered, and right. When it goes on,
// all is done and in order.
func TestStoppedInside(t *testing.T) {
	for _, c := range []struct{ scenario, point string }{
		{"full", "dshash/overwrite/begun"},
		{"full", "dshash/overwrite/logged"},
		{"full", "dshash/overwrite/decided"},
		{"full", "dshash/overwrite/odd"},
		{"full", "dshash/overwrite/half"},
		{"full", "dshash/overwrite/copied"},
		{"full", "dshash/overwrite/even"},
		{"work", "dshash/reserve/allocated"},
		{"work", "dshash/reserve/present"},
		{"work", "dshash/resize/allocated"},
		{"work", "dshash/resize/cleared"},
		{"work", "dshash/resize/odd"},
		{"work", "dshash/resize/old"},
		{"work", "dshash/resize/array"},
		{"work", "dshash/resize/taken"},
		{"work", "dshash/resize/even"},
		{"work", "dshash/move/linked"},
		{"work", "dshash/move/tagged"},
		{"work", "dshash/move/unlinked"},
		{"work", "dshash/move/line"},
		{"work", "dshash/resize/moved"},
		{"work", "dshash/resize/retired"},
		{"work", "dshash/resize/alone"},
		{"work", "dshash/resize/freed"},
	} {
		t.Run(c.point, func(t *testing.T) {
			w, args := makeWorld(t, "mmap", dsa.Options{Initial: 256 << 10, Keep: -1, Sessions: 8}, 2)
			ref, done, err := dsa.New[atomic.Uint64](w.area)
			must(t, err)
			give := func() {}
			if c.scenario == "full" {
				for _, do := range script("full")[:fullFrom] {
					must(t, do.on(w))
					done.Add(1)
				}
				give = exhaust(t, w.area)
			}
			v := proctest.Start(t, "victim", append(args, fmt.Sprint(uint64(ref)), c.scenario, c.point+"#2=stop")...)
			instancetest.Eventually(t, "the victim has stopped", func() bool {
				stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", v.Cmd.Process.Pid))
				must(t, err)
				_, rest, _ := strings.Cut(string(stat), ") ")
				return strings.HasPrefix(rest, "T")
			})
			short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
			defer cancel()
			n := done.Load()
			tab, bs := models(c.scenario, n)
			next := script(c.scenario)[n]
			for k := range uint64(60) {
				if k == next.k {
					continue
				}
				b, found, err := w.bs.Get(short, name(k), nil)
				if is, there := bs[k]; !errors.Is(err, context.DeadlineExceeded) &&
					(err != nil || found != there || found && string(b) != string(long(is))) {
					t.Errorf("name %d: %d bytes, %v, %v", k, len(b), found, err)
				}
				x, found, err := w.tab.Get(short, k)
				if is, there := tab[k]; !errors.Is(err, context.DeadlineExceeded) &&
					(err != nil || found != there || found && x != seal(is)) {
					t.Errorf("key %d: %x, %v, %v", k, x, found, err)
				}
			}
			for k := range uint64(4) { // in each partition of each table, one of which is unavailable
				for _, err := range []error{
					w.tab.Set(short, 1000+k, seal(k)), w.bs.Set(short, name(1000+k), long(k)),
				} {
					if err != nil && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, dsa.ErrLimit) &&
						!errors.Is(err, dsa.ErrFull) {
						t.Error(err)
					}
				}
			}
			must(t, v.Cmd.Process.Signal(unix.SIGCONT))
			must(t, v.Close())
			give()
			for k := range uint64(4) {
				_, err := w.tab.Delete(ctx, 1000+k)
				must(t, err)
				_, err = w.bs.Delete(ctx, name(1000+k))
				must(t, err)
			}
			must(t, w.matches(c.scenario, uint64(len(script(c.scenario)))))
			clean(t, w.area, 1, w.tab, w.bs)
			must(t, ref.Free(w.area))
			w.end(t)
		})
	}
}
