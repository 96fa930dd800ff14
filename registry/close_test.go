package registry_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/catalog"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/registry"
	"github.com/godsm/godsm/shm/dshash"
)

// TestCloseBesideCalls: a session may close whatever its goroutines are at; others finish for it what it left.
func TestCloseBesideCalls(t *testing.T) {
	cfg := instancetest.Config(t, catalog.Default())
	instancetest.Start(t, cfg)
	last := instancetest.Open(t, cfg)
	for range 10 {
		s := instancetest.Open(t, cfg)
		var wg sync.WaitGroup
		underway := make(chan bool, 100)
		for i := range 6 {
			wg.Go(func() {
				for n := 0; ; n++ {
					var err error
					switch name := fmt.Sprint("x", i%2); (i + n) % 4 {
					case 0:
						_, err = registry.Segment(ctx, s, name, initOnce)
					case 1:
						_, err = registry.Area(ctx, s, "a"+name, small)
					case 2:
						err = registry.Delete(ctx, s, name)
					default:
						err = registry.Delete(ctx, s, "a"+name)
					}
					if errors.Is(err, dsm.ErrClosed) {
						return
					}
					// 8 sessions of an area
					if err != nil && !errors.Is(err, registry.ErrNotFound) && !errors.Is(err, registry.ErrFull) {
						t.Error(err)
						return
					}
					select {
					case underway <- true:
					default:
					}
				}
			})
		}
		for range 20 {
			<-underway
		}
		is(t, "close", s.Close(), nil)
		wg.Wait()
	}
	for _, name := range []string{"x0", "x1", "ax0", "ax1"} {
		if err := registry.Delete(ctx, last, name); err != nil && !errors.Is(err, registry.ErrNotFound) {
			t.Error(err)
		}
	}
	if got := list(t, last); len(got) != 0 {
		t.Errorf("%q", got)
	}
	instancetest.OnlyRoot(t, cfg)
}

// TestFull: rows of transient names that have gone are used again; a table that is really full says so.
func TestFull(t *testing.T) {
	cfg := instancetest.Config(t, catalog.Default(), "max_segments", "6")
	instancetest.Start(t, cfg)
	s := instancetest.Open(t, cfg)
	for i := range 20 {
		o, err := s.Owner().Child("brief")
		if err != nil {
			t.Fatal(err)
		}
		opts := registry.Options{Owner: o, Transient: true}
		if _, err := registry.Segment[counter](ctx, s, fmt.Sprint("x", i), nil, opts); err != nil {
			t.Fatal(err)
		}
		is(t, "end", o.Abort(), nil)
	}
	var err error
	n := 0
	for ; err == nil; n++ {
		_, err = registry.Segment[counter](ctx, s, fmt.Sprint("y", n), nil)
	}
	is(t, "one too many", err, dsm.ErrTooManySegments)
	if got := list(t, s); len(got) != 5 || n != 6 {
		t.Errorf("%d names: %q", n, got)
	}
}

func BenchmarkSegment(b *testing.B) {
	cfg := instancetest.Config(b, catalog.Default(), "max_segments", "4096")
	instancetest.Start(b, cfg)
	s := instancetest.Open(b, cfg)
	for b.Loop() {
		if _, err := registry.Segment[counter](ctx, s, "x", nil); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkHash looks up a name that the session has attached.
func BenchmarkHash(b *testing.B) {
	cfg := instancetest.Config(b, catalog.Default())
	instancetest.Start(b, cfg)
	s := instancetest.Open(b, cfg)
	for b.Loop() {
		if _, err := registry.Hash[[2]uint64, [4]counter](ctx, s, "x", dshash.Options{}); err != nil {
			b.Fatal(err)
		}
	}
}
