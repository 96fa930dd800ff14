package registry_test

import (
	"errors"
	"io/fs"
	"runtime"
	"strings"
	"testing"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/catalog"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/registry"
	"github.com/godsm/godsm/shm/dsa"
	"github.com/godsm/godsm/shm/dshash"
)

// TestEachWayOutOfInit: init fails, panics, ends its goroutine, closes its session; nothing of that is left, and the
// next caller that asks for the name makes it.
func TestEachWayOutOfInit(t *testing.T) {
	cfg := instancetest.Config(t, catalog.Default())
	instancetest.Start(t, cfg)
	other := instancetest.Open(t, cfg)
	own := errors.New("own")
	for door, open := range map[string]func(s *dsm.Session, init func() error) (uint64, error){
		"Segment": func(s *dsm.Session, init func() error) (uint64, error) {
			v, err := registry.Segment(ctx, s, "way", func(v *uint64) error { *v = 7; return init() })
			if err != nil {
				return 0, err
			}
			return *v, nil
		},
		"InSegment": func(s *dsm.Session, init func() error) (uint64, error) {
			create := func(g *dsm.Segment) (*thing, error) {
				x, err := makeThing(g)
				return x, errors.Join(err, init())
			}
			x, err := registry.InSegment(ctx, s, "way", registry.Kind{Name: "lamp"}, 4096, create, tableWord)
			if err != nil {
				return 0, err
			}
			return x.word.Load(), nil
		},
		"InArea": func(s *dsm.Session, init func() error) (uint64, error) {
			create := func(a *dsa.Area) (*thing, dsa.Pointer, error) {
				x, p, err := inArea(a)
				return x, p, errors.Join(err, init())
			}
			x, err := registry.InArea(ctx, s, "way", registry.Kind{Name: "oven"}, dsa.Options{}, create, findInArea)
			if err != nil {
				return 0, err
			}
			return x.word.Load(), nil
		},
	} {
		for way, init := range map[string]func(s *dsm.Session) error{
			"error":  func(*dsm.Session) error { return own },
			"panic":  func(*dsm.Session) error { panic(own) },
			"goexit": func(*dsm.Session) error { runtime.Goexit(); return nil },
			"close":  (*dsm.Session).Close,
		} {
			way = door + "/" + way
			s := instancetest.Open(t, cfg)
			outcome := make(chan any, 1)
			go func() {
				var got any = "it ended its goroutine"
				defer func() {
					if p := recover(); p != nil {
						got = p
					}
					outcome <- got
				}()
				_, err := open(s, func() error { return init(s) })
				got = err
			}()
			_, short, _ := strings.Cut(way, "/")
			want := map[string]error{"error": own, "panic": own, "close": dsm.ErrClosed}[short]
			if got := <-outcome; want != nil {
				if err, is := got.(error); !is || !errors.Is(err, want) {
					t.Errorf("%s: %v", way, got)
				}
			}
			v, err := open(other, func() error { return nil })
			if err != nil || v != 7 {
				t.Errorf("%s: the next who asks: %d, %v", way, v, err)
			}
			is(t, way+", delete", registry.Delete(ctx, other, "way"), nil)
			if short != "close" {
				is(t, way+", close", s.Close(), nil)
			}
		}
	}
	if got := list(t, other); len(got) != 0 {
		t.Errorf("%q", got)
	}
	is(t, "close", other.Close(), nil)
	instancetest.OnlyRoot(t, cfg)
}

// TestTwoOptionsAreAnError, for each function that takes one.
func TestTwoOptionsAreAnError(t *testing.T) {
	cfg := instancetest.Config(t, catalog.Default())
	instancetest.Start(t, cfg)
	s := instancetest.Open(t, cfg)
	two := []registry.Options{{}, {Transient: true}}
	_, err := registry.Segment[uint64](ctx, s, "x", nil, two...)
	is(t, "segment", err, fs.ErrInvalid)
	_, err = registry.Area(ctx, s, "x", dsa.Options{}, two...)
	is(t, "area", err, fs.ErrInvalid)
	_, err = registry.Hash[uint64, uint64](ctx, s, "x", dshash.Options{}, two...)
	is(t, "hash", err, fs.ErrInvalid)
	_, err = registry.HashBytes(ctx, s, "x", dshash.Options{}, two...)
	is(t, "hash of bytes", err, fs.ErrInvalid)
	_, err = registry.InSegment(ctx, s, "x", registry.Kind{Name: "lamp"}, 64, makeThing, tableWord, two...)
	is(t, "in a segment", err, fs.ErrInvalid)
	_, err = registry.InArea(ctx, s, "x", registry.Kind{Name: "lamp"}, dsa.Options{}, inArea, findInArea, two...)
	is(t, "in an area", err, fs.ErrInvalid)
	if got := list(t, s); len(got) != 0 {
		t.Errorf("%q", got)
	}
}

// TestAfterClose: each call is ErrClosed, also one that had the name attached.
func TestAfterClose(t *testing.T) {
	cfg := instancetest.Config(t, catalog.Default())
	instancetest.Start(t, cfg)
	s := instancetest.Open(t, cfg)
	v, err := registry.Segment(ctx, s, "v", func(v *uint64) error { *v = 7; return nil })
	if err != nil {
		t.Fatal(err)
	}
	_, err = registry.Hash[uint64, uint64](ctx, s, "h", dshash.Options{})
	is(t, "hash", err, nil)
	is(t, "close", s.Close(), nil)
	if *v != 0 && runtime.GOOS != "windows" { // where what a private page held stays
		t.Errorf("a named value is %d after Close, and not private zeros", *v)
	}
	_, err = registry.Segment[uint64](ctx, s, "v", nil)
	is(t, "segment", err, dsm.ErrClosed)
	_, err = registry.Area(ctx, s, "a", dsa.Options{})
	is(t, "area", err, dsm.ErrClosed)
	_, err = registry.Hash[uint64, uint64](ctx, s, "h", dshash.Options{})
	is(t, "hash", err, dsm.ErrClosed)
	_, err = registry.List(ctx, s)
	is(t, "list", err, dsm.ErrClosed)
	is(t, "delete", registry.Delete(ctx, s, "v"), dsm.ErrClosed)
}
