package registry_test

import (
	"errors"
	"io/fs"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/catalog"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/registry"
	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/dsa"
)

// thing is what a package might build on the registry: a word, in a segment or in an area.
type thing struct{ word *atomic.Uint64 }

func tableWord(g *dsm.Segment) (*thing, error) {
	w, err := shm.At[atomic.Uint64](g.Region(), 64)
	return &thing{w}, err
}

func makeThing(g *dsm.Segment) (*thing, error) {
	x, err := tableWord(g)
	if err == nil {
		x.word.Store(7)
	}
	return x, err
}

func inArea(a *dsa.Area) (*thing, dsa.Pointer, error) {
	p, err := a.Alloc(64)
	if err != nil {
		return nil, 0, err
	}
	x, err := findInArea(a, p)
	if err == nil {
		x.word.Store(7)
	}
	return x, p, err
}

func findInArea(a *dsa.Area, p dsa.Pointer) (*thing, error) {
	b, err := a.Bytes(p)
	if err != nil {
		return nil, err
	}
	w, err := shm.At[atomic.Uint64](shm.NewRegion(b), 0)
	return &thing{w}, err
}

// TestKinds: a package of its own has things behind names, in a segment and in an area; all sessions find what the
// first has made, and a name of another kind, layout or version is ErrMismatch, which says what both are.
func TestKinds(t *testing.T) {
	cfg := instancetest.Config(t, catalog.Default())
	instancetest.Start(t, cfg)
	a, b := instancetest.Open(t, cfg), instancetest.Open(t, cfg)
	lamp := registry.Kind{Name: "lamp", Type: "words", Layout: 5}
	open := func(s *dsm.Session, name string, k registry.Kind, o ...registry.Options) (*thing, error) {
		return registry.InSegment(ctx, s, name, k, 4096, makeThing, tableWord, o...)
	}
	x, err := open(a, "x", lamp)
	is(t, "", err, nil)
	again, err := open(a, "x", lamp)
	is(t, "", err, nil)
	other, err := open(b, "x", lamp)
	is(t, "", err, nil)
	if x != again || x == other || other.word.Load() != 7 {
		t.Errorf("%p, again %p, elsewhere %p with %d", x, again, other, other.word.Load())
	}
	oven := registry.Kind{Name: "oven", Layout: 5}
	y, err := registry.InArea(ctx, a, "y", oven, dsa.Options{}, inArea, findInArea)
	is(t, "", err, nil)
	if z, err := registry.InArea(ctx, b, "y", oven, dsa.Options{}, inArea, findInArea); err != nil || z.word.Load() != 7 || y == z {
		t.Errorf("in an area: %v, %v", z, err)
	}
	for _, c := range []struct {
		name string
		call func() error
		want error
		says string
	}{
		{"another kind", func() error { _, err := open(b, "x", oven); return err }, registry.ErrMismatch, "it is a lamp of words, 4096 bytes, version 0, and was asked for as an oven, 4096 bytes, version 0"},
		{"another layout", func() error { _, err := open(b, "x", registry.Kind{Name: "lamp", Type: "words"}); return err },
			registry.ErrMismatch, "with other fields"},
		{"another version", func() error { _, err := open(b, "x", lamp, registry.Options{Version: 2}); return err },
			registry.ErrMismatch, "version 2"},
		{"a segment", func() error { _, err := registry.Segment[uint64](ctx, b, "x", nil); return err },
			registry.ErrMismatch, "as a segment of uint64"},
		{"other memory", func() error { _, err := open(b, "y", oven); return err }, registry.ErrMismatch, "it is an oven"},
		{"a strange kind", func() error { _, err := open(b, "w", registry.Kind{Name: "Big Lamp"}); return err }, fs.ErrInvalid, "kind"},
		{"no kind", func() error { _, err := open(b, "w", registry.Kind{}); return err }, fs.ErrInvalid, "kind"},
		{"no size", func() error {
			_, err := registry.InSegment(ctx, b, "w", lamp, 0, makeThing, tableWord)
			return err
		}, fs.ErrInvalid, "at least one"},
		{"an area's options", func() error {
			_, err := open(b, "w", lamp, registry.Options{Area: dsa.Options{Limit: 1 << 20}})
			return err
		}, fs.ErrInvalid, "Options.Area"},
		{"absent", func() error { _, err := open(b, "w", lamp, registry.Options{Existing: true}); return err },
			registry.ErrNotFound, ""},
	} {
		if err := c.call(); !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %v with %q", c.name, err, c.want, c.says)
		}
	}
	if got := list(t, a); strings.Join(got, "; ") != "x lamp v0 ready 2; y oven v0 ready 2" {
		t.Errorf("List: %q", got)
	}
	names, err := registry.List(ctx, a)
	is(t, "", err, nil)
	if names[0].InArea || names[0].Type != "words" || !names[1].InArea || names[1].Table == 0 {
		t.Errorf("%+v", names)
	}
}

// TestKindThatCannotBeMade: what fails to be made leaves nothing, and the next one makes it.
func TestKindThatCannotBeMade(t *testing.T) {
	cfg := instancetest.Config(t, catalog.Default())
	instancetest.Start(t, cfg)
	s := instancetest.Open(t, cfg)
	k := registry.Kind{Name: "lamp"}
	broken := errors.New("broken")
	if _, err := registry.InSegment(ctx, s, "x", k, 64, func(*dsm.Segment) (*thing, error) { return nil, broken }, tableWord); !errors.Is(err, broken) {
		t.Errorf("in a segment: %v", err)
	}
	if _, err := registry.InArea(ctx, s, "y", k, dsa.Options{}, func(*dsa.Area) (*thing, dsa.Pointer, error) {
		return nil, 0, broken
	}, findInArea); !errors.Is(err, broken) {
		t.Errorf("in an area: %v", err)
	}
	if got := list(t, s); len(got) > 0 {
		t.Errorf("what is left: %q", got)
	}
	if _, err := registry.InSegment(ctx, s, "x", k, 4096, makeThing, tableWord); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}
