//go:build linux

package area_test

import (
	"flag"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/godsm/godsm/area"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/shm/dsa"
	"github.com/godsm/godsm/shm/dshash"
	"golang.org/x/sys/unix"
)

var entriesToSet = flag.Int("entries", 100_000, "how many entries TestLongestSet sets")

// TestLongestSet fills a table and reports the longest Sets, by the processor time of their thread: what a partition's growth
// and the area's cost the one call that meets them. It bounds the area's growth, not the time.
func TestLongestSet(t *testing.T) {
	cfg := instancetest.Config(t, "posix")
	instancetest.Start(t, cfg)
	s := instancetest.Open(t, cfg)
	a, err := area.Create(ctx, s, s.Owner(), dsa.Options{})
	if err != nil {
		t.Fatal(err)
	}
	h, err := dshash.Create[uint64, [2]uint64](a, dshash.Options{})
	if err != nil {
		t.Fatal(err)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cpu := func() time.Duration {
		var ts unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts); err != nil {
			t.Fatal(err)
		}
		return time.Duration(ts.Nano())
	}
	type set struct {
		took, wall time.Duration
		grew       int64
	}
	var longest []set
	over := 0
	for i := range uint64(*entriesToSet) {
		before, from, at := a.Total(), cpu(), time.Now()
		if err := h.Set(ctx, i, [2]uint64{i, ^i}); err != nil {
			t.Fatal(err)
		}
		is := set{cpu() - from, time.Since(at), a.Total() - before}
		if is.took > 4*time.Millisecond {
			over++
		}
		if len(longest) < 12 || is.took > longest[len(longest)-1].took {
			longest = append(longest, is)
			slices.SortFunc(longest, func(x, y set) int { return int(y.took - x.took) })
			longest = longest[:min(len(longest), 12)]
		}
		if most := 12<<20 + max(0, before-768<<20)/4; is.grew > most {
			t.Errorf("entry %d: the area, of %d bytes, grew by %d", i, before, is.grew)
		}
	}
	t.Logf("%d over 4 ms; the longest of %d Sets: %v", over, *entriesToSet, longest)
	rep := clean(t, a)
	t.Logf("%d bytes in %d segments", rep.Total, rep.Segments)
}
