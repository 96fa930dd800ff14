package survey

import (
	"context"
	"flag"
	"testing"
	"time"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/catalog"
	"github.com/godsm/godsm/internal/testing/instancetest"
)

var ctx = context.Background()

func TestSurveyOfNothing(t *testing.T) {
	if _, err := Take(ctx, dsm.Config{Dir: t.TempDir()}); err == nil {
		t.Error("nothing can be seen, and there is no error")
	}
}

var full = flag.Bool("full", false, "BenchmarkTake looks at 10,000 segments and 500 sessions instead of a tenth of it")

// BenchmarkTake is what a scrape costs but for the text. The time includes no lock, since it takes none.
func BenchmarkTake(b *testing.B) {
	segments, sessions := 1000, 50
	if *full {
		segments, sessions = 10_000, 500
	}
	cfg := instancetest.Config(b, catalog.Default(), "max_processes", "600", "max_segments", "11000", "min_dynamic_shared_memory", "64MB")
	instancetest.Start(b, cfg)
	var list []*dsm.Session
	for range sessions {
		list = append(list, instancetest.Open(b, cfg))
	}
	for i := range segments {
		s := list[i%sessions]
		if _, err := s.Create(ctx, s.Owner(), 4096); err != nil {
			b.Fatal(err)
		}
	}
	least := time.Hour
	for b.Loop() {
		x, err := Take(ctx, cfg)
		if err != nil || len(x.Report.Segments) != segments || len(x.Report.Sessions) != sessions {
			b.Fatalf("%d segments, %d sessions, %v", len(x.Report.Segments), len(x.Report.Sessions), err)
		}
		least = min(least, x.Took)
	}
	b.ReportMetric(float64(least)/float64(time.Millisecond), "least-ms") // what it takes when no other process is in its way
}
