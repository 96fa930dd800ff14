package registry_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/internal/testing/proctest"
	"github.com/godsm/godsm/registry"
	"github.com/godsm/godsm/shm/dsa"
	"github.com/godsm/godsm/shm/dshash"
)

func init() {
	proctest.Register("racer", racer)
	proctest.Register("initialiser", initialiser)
	proctest.Register("churner", churner)
	proctest.Register("setter", setter)
}

// racer asks for each name it is told, and says how often it has been initialised in all.
func racer(c *proctest.Child) error {
	s, err := dsm.Open(ctx, dsm.Config{Dir: c.Args[0]})
	if err != nil {
		return err
	}
	defer s.Close()
	c.Say("ready")
	for {
		name, ok := c.Hear()
		if !ok {
			return nil
		}
		board, err := registry.Segment[counter](ctx, s, "board", nil)
		if err != nil {
			return err
		}
		x, err := registry.Segment(ctx, s, name, func(x *counter) error {
			board.Inits.Add(1)
			x.Inits.Add(1)
			return nil
		})
		if err != nil {
			return err
		}
		x.Hits.Add(1)
		c.Say("inits %d", x.Inits.Load())
	}
}

// TestRace: of processes that ask for the same name at once, exactly one initialises it.
func TestRace(t *testing.T) {
	instancetest.Each(t, func(t *testing.T, backend string) {
		cfg := instancetest.Config(t, backend)
		instancetest.Start(t, cfg)
		var racers [6]*proctest.Process
		for i := range racers {
			racers[i] = proctest.Start(t, "racer", cfg.Dir)
		}
		for _, r := range racers {
			r.Expect("ready")
		}
		const rounds = 20
		for round := range rounds {
			for _, r := range racers {
				r.Send("name %d", round)
			}
			for _, r := range racers {
				r.Expect("inits 1")
			}
		}
		s := instancetest.Open(t, cfg)
		board, err := registry.Segment[counter](ctx, s, "board", nil)
		if err != nil || board.Inits.Load() != rounds {
			t.Errorf("%d inits in %d rounds, %v", board.Inits.Load(), rounds, err)
		}
		for round := range rounds {
			name := fmt.Sprintf("name %d", round)
			x, err := registry.Segment[counter](ctx, s, name, nil, registry.Options{Existing: true})
			if err != nil || x.Hits.Load() != int64(len(racers)) {
				t.Errorf("%s: %v", name, err)
			}
			is(t, name, registry.Delete(ctx, s, name), nil)
		}
		is(t, "board", registry.Delete(ctx, s, "board"), nil)
		is(t, "close", s.Close(), nil)
		for _, r := range racers {
			_ = r.CloseInput() // all at once: under -race each takes a second to end
		}
		for _, r := range racers {
			is(t, "racer", r.Wait(), nil)
		}
		instancetest.OnlyRoot(t, cfg)
	})
}

// initialiser asks for "x"; it stays in init until it is told to go on.
func initialiser(c *proctest.Child) error {
	s, err := dsm.Open(ctx, dsm.Config{Dir: c.Args[0]})
	if err != nil {
		return err
	}
	defer s.Close()
	x, err := registry.Segment(ctx, s, "x", func(x *counter) error {
		x.Inits.Add(1)
		c.Say("in")
		c.Hear()
		return nil
	})
	if err != nil {
		return err
	}
	c.Say("has it, initialised %d times", x.Inits.Load())
	c.Hear()
	return nil
}

// TestInitialiserKilled: a process that waits takes the place of an initialiser that is killed, again and again.
func TestInitialiserKilled(t *testing.T) {
	instancetest.Each(t, func(t *testing.T, backend string) {
		cfg := instancetest.Config(t, backend)
		instancetest.Start(t, cfg)
		const victims = 4
		news := make(chan *proctest.Process)
		var all []*proctest.Process
		for range victims + 2 {
			p := proctest.Start(t, "initialiser", cfg.Dir)
			all = append(all, p)
			go func() {
				for line := range p.Lines() {
					if line == "in" {
						news <- p
					} else {
						news <- nil
					}
				}
			}()
		}
		for range victims {
			(<-news).Kill()
		}
		last := <-news
		last.Send("go on")
		<-news // it has it
		<-news // and the one that waited
		s := instancetest.Open(t, cfg)
		x, err := registry.Segment[counter](ctx, s, "x", nil)
		if err != nil || x.Inits.Load() != 1 {
			t.Errorf("initialised %d times, %v", x.Inits.Load(), err)
		}
		for _, p := range all {
			_ = p.CloseInput()
		}
		instancetest.Eventually(t, "nobody else has it", func() bool {
			names, err := registry.List(ctx, s)
			return err == nil && len(names) == 1 && len(names[0].Sessions) == 1
		})
		is(t, "delete", registry.Delete(ctx, s, "x"), nil)
		is(t, "close", s.Close(), nil)
		instancetest.OnlyRoot(t, cfg)
	})
}

// churner makes, uses and deletes a few names for ever: DIR SEED.
func churner(c *proctest.Child) error {
	s, err := dsm.Open(ctx, dsm.Config{Dir: c.Args[0]})
	if err != nil {
		return err
	}
	defer s.Close()
	seed, _ := strconv.Atoi(c.Args[1])
	rnd := rand.New(rand.NewPCG(uint64(seed), 3))
	for n := 1; ; n++ {
		owner, err := s.Owner().Child("turn")
		if err != nil {
			return err
		}
		name, o := fmt.Sprint("x", rnd.IntN(3)), registry.Options{Owner: owner}
		switch rnd.IntN(4) {
		case 0:
			err = registry.Delete(ctx, s, name)
		case 1:
			err = registry.Delete(ctx, s, "a"+name)
		case 2:
			_, err = registry.Area(ctx, s, "a"+name, small, o)
		default:
			var x *counter
			if x, err = registry.Segment(ctx, s, name, initOnce, o); err == nil && x.Inits.Load() != 1 {
				return fmt.Errorf("%s was initialised %d times", name, x.Inits.Load())
			}
		}
		if err != nil && !errors.Is(err, registry.ErrNotFound) {
			return err
		}
		if err := owner.Abort(); err != nil {
			return err
		}
		if n%10 == 0 {
			c.Say("on")
		}
	}
}

var small = dsa.Options{Initial: 1 << 17, Keep: -1, Sessions: 8}

func initOnce(c *counter) error { c.Inits.Add(1); return nil }

// TestKilledUnderLoad kills processes at any instruction while they and others make and delete the same names.
func TestKilledUnderLoad(t *testing.T) {
	instancetest.Each(t, func(t *testing.T, backend string) {
		kills := 30
		if testing.Short() {
			kills = 6
		}
		cfg := instancetest.Config(t, backend)
		instancetest.Start(t, cfg)
		var churners [3]*proctest.Process
		start := func(i, seed int) {
			churners[i] = proctest.Start(t, "churner", cfg.Dir, strconv.Itoa(seed))
			churners[i].Expect("on")
		}
		for i := range churners {
			start(i, i)
		}
		for kill := range kills {
			i := kill % len(churners)
			churners[i].Kill()
			for range 3 {
				churners[(i+1)%len(churners)].Expect("on") // whichever process died
			}
			start(i, kill+100)
		}
		for _, c := range churners {
			c.Kill()
		}
		s := instancetest.Open(t, cfg)
		for i := range 3 {
			for _, prefix := range []string{"", "a"} {
				if err := registry.Delete(ctx, s, fmt.Sprint(prefix, "x", i)); err != nil &&
					!errors.Is(err, registry.ErrNotFound) {
					t.Error(err)
				}
			}
		}
		if got := list(t, s); len(got) != 0 {
			t.Errorf("names are left: %q", got)
		}
		instancetest.Eventually(t, "areas that were deleted while somebody had them are gone", func() bool {
			return len(list(t, s)) == 0
		})
		instancetest.OnlyRoot(t, cfg)
	})
}

// setter plays PostgreSQL's test_dsm_registry in one session: DIR WHAT.
func setter(c *proctest.Child) error {
	s, err := dsm.Open(ctx, dsm.Config{Dir: c.Args[0]})
	if err != nil {
		return err
	}
	defer s.Close()
	x, err := registry.Segment(ctx, s, "test_dsm_registry_segment", initOnce)
	if err != nil {
		return err
	}
	a, err := registry.Area(ctx, s, "test_dsm_registry_dsa", small)
	if err != nil {
		return err
	}
	h, err := registry.HashBytes(ctx, s, "test_dsm_registry_hash", dshash.Options{Partitions: 8})
	if err != nil {
		return err
	}
	if c.Args[1] == "set" {
		if err := h.Set(ctx, []byte("key"), []byte("value")); err != nil {
			return err
		}
		p, err := a.Alloc(len("a value"))
		if err != nil {
			return err
		}
		b, err := a.Bytes(p)
		if err != nil {
			return err
		}
		copy(b, "a value")
		x.Hits.Store(int64(p))
		return nil
	}
	b, err := a.Bytes(dsa.Pointer(x.Hits.Load()))
	if err != nil {
		return err
	}
	v, _, err := h.Get(ctx, []byte("key"), nil)
	c.Say("%s, %s, %d", b, v, x.Inits.Load())
	return err
}

// TestPostgres runs what PostgreSQL's test_dsm_registry runs: set, reconnect, it is still there; the list.
func TestPostgres(t *testing.T) {
	instancetest.Each(t, func(t *testing.T, backend string) {
		cfg := instancetest.Config(t, backend)
		instancetest.Start(t, cfg)
		s := instancetest.Open(t, cfg)
		if got := list(t, s); len(got) != 0 {
			t.Errorf("%q", got)
		}
		is(t, "set", proctest.Start(t, "setter", cfg.Dir, "set").Close(), nil)
		p := proctest.Start(t, "setter", cfg.Dir, "get")
		if got := p.Expect(""); got != "a value, value, 1" {
			t.Errorf("%q", got)
		}
		is(t, "get", p.Close(), nil)
		names, err := registry.List(ctx, s)
		if err != nil || len(names) != 3 {
			t.Fatalf("%+v, %v", names, err)
		}
		for i, want := range []string{"test_dsm_registry_dsa area", "test_dsm_registry_hash hash",
			"test_dsm_registry_segment segment"} {
			if got := names[i].Name + " " + names[i].Kind; got != want || names[i].Size <= 0 {
				t.Errorf("%s, %d bytes", got, names[i].Size)
			}
		}
	})
}
