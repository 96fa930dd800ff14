package survey

import (
	"context"
	"errors"
	"flag"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/godsm/godsm/cache"
	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/catalog"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/locktable"
	"github.com/godsm/godsm/registry"
	"github.com/godsm/godsm/shm/dsa"
)

var ctx = context.Background()

func TestSurveyOfNothing(t *testing.T) {
	if _, err := Take(ctx, dsm.Config{Dir: t.TempDir()}); err == nil {
		t.Error("nothing can be seen, and there is no error")
	}
}

// crowd starts an instance with a session, two caches and a lock table of which a lock is held.
func crowd(t *testing.T) (dsm.Config, *dsm.Session) {
	cfg := instancetest.Config(t, catalog.Default())
	instancetest.Start(t, cfg)
	s := instancetest.Open(t, cfg)
	for _, name := range []string{"pages", "images"} {
		c, err := cache.Open(ctx, s, name, cache.Options{Limit: 2 << 20})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
	}
	table, err := locktable.Open(ctx, s, "storage", locktable.Options{})
	if err != nil {
		t.Fatal(err)
	}
	holder, owner := table.As(ctx, "the holder")
	t.Cleanup(owner.Done)
	for _, name := range []string{"b", "a", "c"} {
		if _, err := table.Lock(holder, locktable.Exclusive, name); err != nil {
			t.Fatal(err)
		}
	}
	return cfg, s
}

// TestTakeSeesWhatHasAName: each kind is in its list, and locks are in the order of their names.
func TestTakeSeesWhatHasAName(t *testing.T) {
	cfg, s := crowd(t)
	x, err := Take(ctx, cfg)
	if err != nil || x.Err != nil || len(x.Names) != 3 || len(x.Caches) != 2 || len(x.Tables) != 1 || len(x.Report.Sessions) != 1 {
		t.Fatalf("%+v, %v", x, err)
	}
	for _, c := range x.Caches {
		if c.Err != nil || c.Stats.Limit != 2<<20 || len(c.Sessions) != 1 || !c.Stats.Sessions[0].Alive || c.Stats.Sessions[0].Session != s.Self().Peer {
			t.Errorf("%+v", c)
		}
	}
	names := ""
	for _, l := range x.Tables[0].Locks {
		names += l.Name()
	}
	if x.Tables[0].Err != nil || names != "abc" {
		t.Errorf("%q, %v", names, x.Tables[0].Err)
	}
}

// TestFindLooksIntoWhatWasAskedFor: one kind, one name, and no name is an error.
func TestFindLooksIntoWhatWasAskedFor(t *testing.T) {
	cfg, _ := crowd(t)
	for _, c := range []struct {
		kind, name     string
		caches, tables int
	}{{cache.Kind, "", 2, 0}, {cache.Kind, "pages", 1, 0}, {locktable.Kind, "", 0, 1}, {locktable.Kind, "storage", 0, 1}} {
		x, err := Find(ctx, cfg, c.kind, c.name)
		if err != nil || len(x.Caches) != c.caches || len(x.Tables) != c.tables || len(x.Names) != 3 {
			t.Errorf("%s %q: %d caches, %d tables, %v", c.kind, c.name, len(x.Caches), len(x.Tables), err)
		}
	}
	if _, err := Find(ctx, cfg, cache.Kind, "storage"); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), `no cache "storage"`) {
		t.Errorf("a name of another kind: %v", err)
	}
}

// TestSinceIsOfOneGeneration: a difference of counts of two generations means nothing.
func TestSinceIsOfOneGeneration(t *testing.T) {
	at := time.Now()
	seen := func(generation uint64, after time.Duration) *Survey {
		s := &Survey{Begun: at.Add(after)}
		s.Report.Status.Generation = generation
		return s
	}
	for _, x := range []struct {
		now, before *Survey
		want        float64
	}{
		{seen(1, 2*time.Second), seen(1, 0), 2},
		{seen(2, 2*time.Second), seen(1, 0), 0},
		{seen(1, 0), seen(1, time.Second), 0},
		{seen(1, 0), nil, 0},
	} {
		if got := x.now.Since(x.before); got != x.want {
			t.Errorf("%v after %v: %v", x.now, x.before, got)
		}
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

// TestPartsAreAllSegmentsOfAnArea: what a named area consists of is known of each of its segments, and of no other one.
func TestPartsAreAllSegmentsOfAnArea(t *testing.T) {
	cfg := instancetest.Config(t, catalog.Default())
	instancetest.Start(t, cfg)
	s := instancetest.Open(t, cfg)
	a, err := registry.Area(ctx, s, "jobs", dsa.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if _, err := a.Alloc(1 << 20); err != nil {
			t.Fatal(err)
		}
	}
	own, err := s.Create(ctx, s.Owner(), 100)
	if err != nil {
		t.Fatal(err)
	}
	x, err := Take(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if len(x.Report.Segments) < 5 {
		t.Fatalf("%d segments: the area has not grown", len(x.Report.Segments))
	}
	for _, g := range x.Report.Segments {
		if part := x.Parts[g.Handle].Name; (part == "jobs") == (g.Root || g.Handle == own.Handle()) {
			t.Errorf("segment %v is a part of %q", g.Handle, part)
		}
	}
}
