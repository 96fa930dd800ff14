package registry_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/godsm/godsm/area"
	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/catalog"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/internal/testing/proctest"
	"github.com/godsm/godsm/registry"
	"github.com/godsm/godsm/shm/dsa"
)

var ctx = context.Background()

func TestMain(m *testing.M) { proctest.Main(m) }

type counter struct{ Hits, Inits atomic.Int64 }

type other struct{ A, B atomic.Int64 }

func is(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) || (want == nil) != (err == nil) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

func list(t *testing.T, s *dsm.Session) (text []string) {
	t.Helper()
	names, err := registry.List(ctx, s)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range names {
		text = append(text, fmt.Sprintf("%s %s v%d %s %d", x.Name, x.Kind, x.Version, x.State, len(x.Sessions)))
	}
	return text
}

func TestSegment(t *testing.T) {
	instancetest.Each(t, func(t *testing.T, backend string) {
		cfg := instancetest.Config(t, backend)
		instancetest.Start(t, cfg)
		a, b := instancetest.Open(t, cfg), instancetest.Open(t, cfg)
		_, err := registry.Segment[counter](ctx, a, "hits", nil, registry.Options{Existing: true})
		is(t, "what is not there", err, registry.ErrNotFound)
		init := func(c *counter) error { c.Inits.Add(1); return nil }
		x, err := registry.Segment(ctx, a, "hits", init)
		if err != nil {
			t.Fatal(err)
		}
		x.Hits.Add(41)
		y, err := registry.Segment(ctx, b, "hits", init)
		if err != nil {
			t.Fatal(err)
		}
		if y.Hits.Add(1) != 42 || y.Inits.Load() != 1 || x == y {
			t.Errorf("%d hits, %d inits", y.Hits.Load(), y.Inits.Load())
		}
		if again, err := registry.Segment(ctx, a, "hits", init); again != x || err != nil {
			t.Errorf("asked again: %p, not %p, %v", again, x, err)
		}
		o, err := b.Owner().Child("scope")
		if err != nil {
			t.Fatal(err)
		}
		z, err := registry.Segment(ctx, b, "hits", init, registry.Options{Owner: o})
		if err != nil || z == y || z.Hits.Add(1) != 43 || y.Hits.Add(-1) != 42 {
			t.Errorf("under an owner, in a mapping that ends with it: %d hits, %v", z.Hits.Load(), err)
		}
		if err := o.Abort(); err != nil || y.Hits.Load() != 42 {
			t.Error(err)
		}
		if got := strings.Join(list(t, a), ", "); got != "hits segment v0 ready 2" {
			t.Error(got)
		}

		for _, c := range []struct {
			what, want string
			f          func() error
		}{
			{"fields", `registry: segment "hits": it is a segment of registry_test.counter, 16 bytes, version 0, ` +
				`and was asked for as a segment of registry_test.other, 16 bytes, version 0`,
				func() error { _, err := registry.Segment[other](ctx, b, "hits", nil); return err }},
			{"size", "a segment of registry_test.counter, 16 bytes, version 0, and was asked for as a segment " +
				"of int64, 8 bytes, version 0",
				func() error { _, err := registry.Segment[int64](ctx, b, "hits", nil); return err }},
			{"version", "version 0, and was asked for as a segment of registry_test.counter, 16 bytes, version 7",
				func() error {
					_, err := registry.Segment(ctx, b, "hits", init, registry.Options{Version: 7})
					return err
				}},
			{"kind", "a segment of registry_test.counter, 16 bytes, version 0, and was asked for as an area, version 0",
				func() error { _, err := registry.Area(ctx, b, "hits", dsa.Options{}); return err }},
		} {
			err := c.f()
			is(t, c.what, err, registry.ErrMismatch)
			if !strings.Contains(fmt.Sprint(err), c.want) {
				t.Errorf("%s: %v, want %s", c.what, err, c.want)
			}
		}

		is(t, "delete", registry.Delete(ctx, a, "hits"), nil)
		is(t, "delete again", registry.Delete(ctx, a, "hits"), registry.ErrNotFound)
		if x.Hits.Add(1) != y.Hits.Load() {
			t.Error("deleted from under its users")
		}
		z, err = registry.Segment(ctx, b, "hits", init)
		if err != nil || z == y || z.Hits.Load() != 0 || z.Inits.Load() != 1 {
			t.Errorf("made anew: %v", err)
		}
		is(t, "delete", registry.Delete(ctx, b, "hits"), nil)
		is(t, "close", errors.Join(a.Close(), b.Close()), nil)
		_, err = registry.Segment(ctx, a, "hits", init)
		is(t, "closed", err, dsm.ErrClosed)
		instancetest.OnlyRoot(t, cfg)
	})
}

func TestNames(t *testing.T) {
	cfg := instancetest.Config(t, catalog.Default())
	instancetest.Start(t, cfg)
	s := instancetest.Open(t, cfg)
	for name, ok := range map[string]bool{
		"": false, strings.Repeat("x", 63): true, strings.Repeat("x", 64): false, "a\nb": false, "\x00": false,
		"a b/c:ü": true, "\xff": false,
	} {
		if _, err := registry.Segment[int64](ctx, s, name, nil); ok != (err == nil) {
			t.Errorf("%q: %v", name, err)
		}
	}
	if _, err := registry.Segment[string](ctx, s, "x", nil); err == nil {
		t.Error("a string in shared memory")
	}
	if got := list(t, s); len(got) != 2 {
		t.Errorf("%q", got)
	}
}

func TestArea(t *testing.T) {
	instancetest.Each(t, func(t *testing.T, backend string) {
		cfg := instancetest.Config(t, backend)
		instancetest.Start(t, cfg)
		a, b := instancetest.Open(t, cfg), instancetest.Open(t, cfg)
		o := dsa.Options{Initial: 1 << 17, Keep: -1}
		x, err := registry.Area(ctx, a, "jobs", o)
		if err != nil {
			t.Fatal(err)
		}
		p, err := x.Alloc(1 << 20)
		if err != nil {
			t.Fatal(err)
		}
		is(t, "detach", x.Detach(), nil)
		is(t, "close", a.Close(), nil)
		y, err := registry.Area(ctx, b, "jobs", o)
		if err != nil {
			t.Fatal(err)
		}
		if bytes, err := y.Bytes(p); err != nil || len(bytes) != 1<<20 {
			t.Error(len(bytes), err)
		}
		names, err := registry.List(ctx, b)
		if err != nil || len(names) != 1 || names[0].Kind != "area" || names[0].Size != y.Total() ||
			names[0].Handle != area.Handle(y) || len(names[0].Sessions) != 1 {
			t.Errorf("%+v, %v", names, err)
		}
		is(t, "delete", registry.Delete(ctx, b, "jobs"), nil)
		if _, err := y.Alloc(1 << 20); err != nil {
			t.Error(err)
		}
		z, err := registry.Area(ctx, b, "jobs", o)
		if err != nil || area.Handle(z) == area.Handle(y) {
			t.Errorf("%v, %v", z, err)
		}
		is(t, "detach", errors.Join(y.Detach(), z.Detach()), nil)
		is(t, "delete", registry.Delete(ctx, b, "jobs"), nil)
		instancetest.OnlyRoot(t, cfg)
	})
}

// TestNamesOutside: a look from outside finds the names, where the table of them is carved out of
// the reserved region too.
func TestNamesOutside(t *testing.T) {
	for _, reserved := range []string{"0", "1MB"} {
		cfg := instancetest.Config(t, catalog.Default(), "min_dynamic_shared_memory", reserved)
		instancetest.Start(t, cfg)
		if _, err := registry.Segment[counter](ctx, instancetest.Open(t, cfg), "hits", nil); err != nil {
			t.Fatal(err)
		}
		r, err := dsm.Inspect(ctx, cfg)
		if err != nil {
			t.Fatal(err)
		}
		if names, err := registry.Names(r); err != nil || len(names) != 1 || names[0].Name != "hits" ||
			names[0].Size != 16 {
			t.Errorf("reserved %s: %+v, %v", reserved, names, err)
		}
	}
}

// TestFailedInit: an init that fails, or panics, leaves nothing, and the next one begins again.
func TestFailedInit(t *testing.T) {
	instancetest.Each(t, func(t *testing.T, backend string) {
		cfg := instancetest.Config(t, backend)
		instancetest.Start(t, cfg)
		s := instancetest.Open(t, cfg)
		no := errors.New("no")
		for range 3 {
			_, err := registry.Segment(ctx, s, "x", func(c *counter) error { c.Inits.Add(1); return no })
			is(t, "init", err, no)
			func() {
				defer func() {
					if recover() != "oh" {
						t.Error("no panic")
					}
				}()
				_, _ = registry.Segment(ctx, s, "x", func(c *counter) error { c.Inits.Add(1); panic("oh") })
			}()
		}
		if got := list(t, s); len(got) != 0 {
			t.Errorf("%q", got)
		}
		instancetest.OnlyRoot(t, cfg)
		c, err := registry.Segment(ctx, s, "x", func(c *counter) error {
			_, err := registry.Segment[other](ctx, s, "inner", nil)
			c.Inits.Add(1)
			return err
		})
		if err != nil || c.Inits.Load() != 1 {
			t.Error(err)
		}
		_, err = registry.Segment(ctx, s, "itself", func(*counter) error {
			over, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
			defer cancel()
			_, err := registry.Segment[counter](over, s, "itself", nil)
			return err
		})
		is(t, "itself", err, context.DeadlineExceeded)
	})
}

func TestTransient(t *testing.T) {
	instancetest.Each(t, func(t *testing.T, backend string) {
		cfg := instancetest.Config(t, backend)
		instancetest.Start(t, cfg)
		a, b := instancetest.Open(t, cfg), instancetest.Open(t, cfg)
		brief := registry.Options{Transient: true}
		x, err := registry.Segment[counter](ctx, a, "x", nil, brief)
		if err != nil {
			t.Fatal(err)
		}
		x.Hits.Store(1)
		y, err := registry.Segment[counter](ctx, b, "x", nil, brief)
		if err != nil || y.Hits.Load() != 1 {
			t.Error(err)
		}
		is(t, "close", errors.Join(a.Close(), b.Close()), nil)
		instancetest.OnlyRoot(t, cfg)
		c := instancetest.Open(t, cfg)
		if got := list(t, c); len(got) != 0 {
			t.Errorf("%q", got)
		}
		_, err = registry.Segment[counter](ctx, c, "x", nil, registry.Options{Existing: true})
		is(t, "what has gone", err, registry.ErrNotFound)
		if z, err := registry.Segment[counter](ctx, c, "x", nil, brief); err != nil || z.Hits.Load() != 0 {
			t.Error(err)
		}
	})
}
