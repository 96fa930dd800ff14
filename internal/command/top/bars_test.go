//go:build linux

package top

import (
	"context"
	"flag"
	"runtime/debug"
	"syscall"
	"testing"
	"time"

	"github.com/godsm/godsm/internal/catalog"
	"github.com/godsm/godsm/internal/testing/instancetest"
)

var bars = flag.Bool("bars", false, "measure what a second of top costs with 10,000 segments")

// TestTopOf10000SegmentsCostsLittle measures the processor time of a look and a drawn screen, once a second: at most 5 % of a core.
func TestTopOf10000SegmentsCostsLittle(t *testing.T) {
	if !*bars {
		t.Skip("only with -bars: it makes 10,000 segments")
	}
	cfg := instancetest.Config(t, catalog.Default())
	cfg.Settings = map[string]string{"max_segments": "12000", "min_dynamic_shared_memory": "64MB"}
	instancetest.Start(t, cfg)
	s := instancetest.Open(t, cfg)
	for range 10_000 {
		if _, err := s.Create(context.Background(), s.Owner(), 1000); err != nil {
			t.Fatal(err)
		}
	}
	defer debug.SetGCPercent(debug.SetGCPercent(garbage))
	m := &model{ctx: context.Background(), config: cfg, sheets: sheets(), width: 200, height: 50, colours: true, screen: true, interval: time.Second}
	for _, view := range []int{0, 1} {
		m.turn(view)
		const looks = 20
		begin := used(t)
		for range looks {
			m.Update(m.look()())
			if m.err != nil || m.now.Report.Status.Segments != 10_000 {
				t.Fatal(m.err)
			}
			_ = m.View()
		}
		each := (used(t) - begin) / looks
		t.Logf("view %s: %v of processor time for a look and a screen: %.1f %% of a core at 1 Hz", m.sheet().name(), each, each.Seconds()*100)
		if each > 50*time.Millisecond {
			t.Errorf("view %s: %v", m.sheet().name(), each)
		}
	}
}

// used is the processor time of this process.
func used(t *testing.T) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
