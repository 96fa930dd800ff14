package web

import (
	"flag"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/godsm/godsm/internal/catalog"
	"github.com/godsm/godsm/internal/testing/instancetest"
)

var full = flag.Bool("full", false, "BenchmarkPage loads the page of 10,000 segments and 500 sessions instead of a tenth of it")

// BenchmarkPage loads the page from the loopback address, with the state that it shows, which needs a new look.
func BenchmarkPage(b *testing.B) {
	segments, sessions := 1000, 50
	if *full {
		segments, sessions = 10_000, 500
	}
	cfg := instancetest.Config(b, catalog.Default(), "max_processes", "600", "max_segments", "11000", "min_dynamic_shared_memory", "64MB")
	instancetest.Start(b, cfg)
	for range sessions {
		s := instancetest.Open(b, cfg)
		for range segments / sessions {
			if _, err := s.Create(ctx, s.Owner(), 4096); err != nil {
				b.Fatal(err)
			}
		}
	}
	least, size := time.Hour, int64(0)
	for b.Loop() {
		s := httptest.NewServer(Handler(cfg, Options{})) // a new one has no look that it could share
		begin := time.Now()
		size = 0
		for _, path := range []string{"/", "/icon.svg"} {
			r, err := http.Get(s.URL + path)
			if err != nil || r.StatusCode != http.StatusOK {
				b.Fatal(path, r, err)
			}
			n, err := io.Copy(io.Discard, r.Body)
			_ = r.Body.Close()
			if err != nil {
				b.Fatal(err)
			}
			size += n
		}
		least = min(least, time.Since(begin))
		s.Close()
	}
	b.ReportMetric(float64(least)/float64(time.Millisecond), "least-ms") // when no other process is in its way
	b.ReportMetric(float64(size)/1000, "kB")
}
