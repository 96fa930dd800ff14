package area_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/godsm/godsm/area"
	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/catalog"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/internal/testing/proctest"
	"github.com/godsm/godsm/resowner"
	"github.com/godsm/godsm/shm/dsa"
)

var ctx = context.Background()

func TestMain(m *testing.M) { proctest.Main(m) }

func clean(t testing.TB, a *dsa.Area) dsa.Report {
	t.Helper()
	rep, err := a.Verify(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range rep.Problems {
		t.Error(p)
	}
	return rep
}

// TestPostgres runs what PostgreSQL's test_dsa runs, with its parameters, on all backends.
func TestPostgres(t *testing.T) {
	instancetest.Each(t, func(t *testing.T, backend string) {
		cfg := instancetest.Config(t, backend)
		instancetest.Start(t, cfg)
		s := instancetest.Open(t, cfg)

		t.Run("basic", func(t *testing.T) {
			a, err := area.Create(ctx, s, s.Owner(), dsa.Options{})
			if err != nil {
				t.Fatal(err)
			}
			var ps [100]dsa.Pointer
			for i := range ps {
				if ps[i], err = a.Alloc(1000); err != nil {
					t.Fatal(err)
				}
				b, _ := a.Bytes(ps[i])
				copy(b, fmt.Sprintf("foobar%d", i))
			}
			for i, p := range ps {
				b, err := a.Bytes(p)
				if err != nil || !bytes.HasPrefix(b, []byte(fmt.Sprintf("foobar%d", i))) {
					t.Errorf("object %d: %q, %v", i, b[:10], err)
				}
			}
			for _, p := range ps {
				if err := a.Free(p); err != nil {
					t.Error(err)
				}
			}
			if err := a.Detach(); err != nil {
				t.Error(err)
			}
		})

		t.Run("owners", func(t *testing.T) {
			parent := child(t, s.Owner())
			a, err := area.Create(ctx, s, parent, dsa.Options{})
			if err != nil {
				t.Fatal(err)
			}
			inner := child(t, parent)
			ps := make([]dsa.Pointer, 10_000)
			for i := range ps {
				if ps[i], err = a.Alloc(1000); err != nil {
					t.Fatal(err)
				}
			}
			for _, p := range ps[:500] {
				if err := a.Free(p); err != nil {
					t.Error(err)
				}
			}
			end(t, inner)
			if rep := clean(t, a); rep.Objects != 9500 {
				t.Errorf("%d objects", rep.Objects)
			}
			end(t, parent) // detaches it, hooks first
			if _, err := a.Alloc(1); err == nil {
				t.Error("an area outlived its owner")
			}
		})

		t.Run("sizes", func(t *testing.T) {
			pages := []int{6501}
			for n := 1001; n <= 2000; n += 100 {
				pages = append(pages, n)
			}
			for _, n := range pages {
				a, err := area.Create(ctx, s, s.Owner(), dsa.Options{})
				if err != nil {
					t.Fatal(err)
				}
				p, err := a.Alloc(n * 4096)
				if err != nil {
					t.Fatal(n, err)
				}
				b, err := a.Bytes(p)
				if err != nil || len(b) != n*4096 {
					t.Fatal(len(b), err)
				}
				b[0], b[len(b)-1] = 1, 2
				if err := a.Free(p); err != nil {
					t.Error(err)
				}
				if err := a.Detach(); err != nil {
					t.Error(err)
				}
			}
		})
		noneLeft(t, cfg)
	})
}

func child(t *testing.T, o *resowner.Owner) *resowner.Owner {
	t.Helper()
	c, err := o.Child("child")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func end(t *testing.T, o *resowner.Owner) {
	t.Helper()
	if err := o.Abort(); err != nil {
		t.Error(err)
	}
}

// The hammer: processes that each keep a model of their own objects, beside numbers that they hand to each other
// through the pipes of the test.

// inArea is the beginning of a helper: DIR HANDLE; the session is for it to close.
func inArea(c *proctest.Child) (*dsm.Session, *dsa.Area, error) {
	s, err := dsm.Open(ctx, dsm.Config{Dir: c.Args[0]})
	if err != nil {
		return nil, nil, err
	}
	h, err := dsm.ParseHandle(c.Args[1])
	if err != nil {
		return nil, nil, errors.Join(err, s.Close())
	}
	a, err := area.Attach(ctx, s, s.Owner(), h)
	if err != nil {
		return nil, nil, errors.Join(err, s.Close())
	}
	return s, a, nil
}

func init() {
	proctest.Register("player", player)
}

// player plays at random for ever: DIR HANDLE SEED CHECKED. At each line it stops for a while, looks at
// all that it has, and says how many objects and bytes; at "free" it frees them; objects that it is
// told it frees for others.
func player(c *proctest.Child) error {
	s, a, err := inArea(c)
	if err != nil {
		return err
	}
	defer s.Close()
	seed, _ := strconv.Atoi(c.Args[2])
	rnd := rand.New(rand.NewPCG(uint64(seed), 1))
	mine := map[dsa.Pointer]object{}
	var order []dsa.Pointer
	c.Say("ready")
	for {
		line, ok := c.Hear()
		if !ok {
			return nil
		}
		f := strings.Fields(line)
		switch f[0] {
		case "play":
			rounds, _ := strconv.Atoi(f[1])
			for range rounds {
				if order, err = turn(a, rnd, mine, order); err != nil {
					return err
				}
			}
		case "give": // half of what it has, with sums, for others to free
			var gifts []string
			for _, p := range order[:len(order)/2] {
				gifts = append(gifts, fmt.Sprintf("%d:%d:%d", p, mine[p].n, mine[p].sum))
				delete(mine, p)
			}
			order = order[len(order)/2:]
			c.Say("gifts %s", strings.Join(gifts, " "))
			continue
		case "take":
			for _, g := range f[1:] {
				var p dsa.Pointer
				var x object
				if _, err := fmt.Sscanf(strings.ReplaceAll(g, ":", " "), "%d %d %d", &p, &x.n, &x.sum); err != nil {
					return err
				}
				if err := x.check(a, p); err != nil {
					return err
				}
				if err := a.Free(p); err != nil {
					return err
				}
			}
		case "free":
			for _, p := range order {
				if err := mine[p].check(a, p); err != nil {
					return err
				}
				if err := a.Free(p); err != nil {
					return err
				}
			}
			clear(mine)
			order = nil
		case "trim":
			if err := a.Trim(ctx); err != nil {
				return err
			}
		case "detach":
			if err := a.Detach(); err != nil {
				return err
			}
		}
		total := 0
		for _, x := range mine {
			total += x.n
		}
		c.Say("has %d %d", len(mine), total)
	}
}

type object struct {
	n   int
	sum uint32
}

func (x object) check(a *dsa.Area, p dsa.Pointer) error {
	b, err := a.Bytes(p)
	if err != nil {
		return err
	}
	if sum := crc32.ChecksumIEEE(b); len(b) != x.n || sum != x.sum {
		return fmt.Errorf("object %v: %d bytes of sum %x, not %d of %x", p, len(b), sum, x.n, x.sum)
	}
	return nil
}

// turn allocates or frees at random, with contents that are looked at before they go.
func turn(a *dsa.Area, rnd *rand.Rand, mine map[dsa.Pointer]object, order []dsa.Pointer) ([]dsa.Pointer, error) {
	if n := len(order); n > 0 && rnd.IntN(800) < n {
		i := rnd.IntN(n)
		p := order[i]
		if err := mine[p].check(a, p); err != nil {
			return order, err
		}
		if err := a.Free(p); err != nil {
			return order, err
		}
		delete(mine, p)
		order[i] = order[n-1]
		return order[:n-1], nil
	}
	n := 1 + rnd.IntN(16<<rnd.IntN(15))
	p, err := a.Alloc(n)
	if err != nil {
		return order, err
	}
	b, err := a.Bytes(p)
	if err != nil {
		return order, err
	}
	if _, there := mine[p]; there || len(b) != n {
		return order, fmt.Errorf("object %v, %d bytes: there already: %v", p, len(b), there)
	}
	for i := range b {
		b[i] = byte(rnd.Uint32())
	}
	mine[p] = object{n, crc32.ChecksumIEEE(b)}
	return append(order, p), nil
}

// noneLeft: on Windows the supervisor lets go of what was pinned at its next look.
func noneLeft(t *testing.T, cfg dsm.Config) {
	t.Helper()
	instancetest.Eventually(t, "no segment is left", func() bool { return instancetest.Objects(t, cfg.Dir) == 0 })
}

// TestIdleSessionLetsGo has a session that once used an area's segments, and makes no call any more: when another has
// emptied the area, all memory goes back to the instance.
func TestIdleSessionLetsGo(t *testing.T) {
	cfg := instancetest.Config(t, catalog.Default())
	instancetest.Start(t, cfg)
	s, idle := instancetest.Open(t, cfg), instancetest.Open(t, cfg)
	a, err := area.Create(ctx, s, s.Owner(), dsa.Options{})
	if err != nil {
		t.Fatal(err)
	}
	b, err := area.Attach(ctx, idle, idle.Owner(), area.Handle(a))
	if err != nil {
		t.Fatal(err)
	}
	var ps []dsa.Pointer
	for range 8000 {
		p, err := b.Alloc(4000)
		if err != nil {
			t.Fatal(err)
		}
		ps = append(ps, p)
	}
	for _, p := range ps {
		if err := a.Free(p); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.Trim(ctx); err != nil {
		t.Fatal(err)
	}
	if rep := clean(t, a); rep.Segments != 1 {
		t.Errorf("%d segments in the area", rep.Segments)
	}
	instancetest.Eventually(t, "the idle session has unmapped what went back", func() bool {
		list, err := s.Segments(ctx)
		return err == nil && len(list) == 1
	})
}
