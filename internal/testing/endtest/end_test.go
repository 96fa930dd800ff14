package endtest

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/internal/testing/proctest"
)

func TestMain(m *testing.M) { proctest.Main(m) }

var rounds = flag.Int("rounds", 2, "how many sessions end in each way, for each backend and kind of instance")

func init() {
	proctest.Register("user", user)
}

// ways are the ways to try an end, each in a process of its own, which dies if anything faults.
var ways = map[string]func(cfg dsm.Config, name string, rnd *rand.Rand) error{
	"open": open, "after": after, "during": during, "held": held, "detached": detached,
}

func TestEnds(t *testing.T) {
	kinds := map[string][]string{
		"plain":    nil,
		"reserved": {"min_dynamic_shared_memory", "8MB"},
		"checked":  {"checked", "on"},
	}
	instancetest.Each(t, func(t *testing.T, backend string) {
		for _, kind := range slices.Sorted(maps.Keys(kinds)) {
			t.Run(kind, func(t *testing.T) {
				cfg := instancetest.Config(t, backend, append(kinds[kind], "max_segments", "400")...)
				instancetest.Start(t, cfg)
				for _, way := range slices.Sorted(maps.Keys(ways)) {
					t.Run(way, func(t *testing.T) { endAll(t, cfg, way) })
				}
			})
		}
	})
}

// endAll has one process end sessions in one way, and looks whether anything of theirs is left in the books.
func endAll(t *testing.T, cfg dsm.Config, way string) {
	seed := rand.Uint64()
	p := proctest.Start(t, "user", cfg.Dir, way, strconv.Itoa(*rounds), strconv.FormatUint(seed, 10), cfg.Settings["checked"])
	for {
		line, ok := p.Line()
		if !ok {
			t.Fatalf("seed %d: %v\n%s", seed, p.Wait(), p.Stderr())
		}
		if line == "done" {
			break
		}
		if line != "on" {
			t.Error(line)
		}
	}
	if err := p.Close(); err != nil {
		t.Errorf("seed %d: %v\n%s", seed, err, p.Stderr())
	}
	noneHeld(t, cfg)
}

// user ends sessions in one way: DIR WAY ROUNDS SEED CHECKED.
func user(c *proctest.Child) error {
	n, _ := strconv.Atoi(c.Args[2])
	seed, _ := strconv.ParseUint(c.Args[3], 10, 64)
	rnd := rand.New(rand.NewPCG(seed, 1))
	for i := range n {
		if err := ways[c.Args[1]](configOf(c.Args[0], c.Args[4]), fmt.Sprint(c.Args[1], " ", i), rnd); err != nil {
			c.Say("round %d: %v", i, err)
		}
		c.Say("on") // who says nothing for long is taken for stuck
	}
	c.Say("done")
	c.Hear()
	return nil
}

// configOf is the configuration of a process's sessions: checked is a setting of each process, not of the instance.
func configOf(dir, checked string) dsm.Config {
	cfg := dsm.Config{Dir: dir, Settings: map[string]string{}}
	if checked != "" {
		cfg.Settings["checked"] = checked
	}
	return cfg
}

func shuffled(rnd *rand.Rand) []string {
	names := slices.Sorted(maps.Keys(uses))
	rnd.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	return names
}

// open uses everything in an open session: each answer is right.
func open(cfg dsm.Config, name string, rnd *rand.Rand) error {
	w, err := newWorld(cfg, name)
	if err != nil {
		return err
	}
	errs := make([]error, users)
	var wg sync.WaitGroup
	for i := range users {
		names := shuffled(rnd)
		wg.Go(func() {
			for _, name := range names {
				if err := uses[name](w, i); err != nil && !waits(err) {
					errs[i] = errors.Join(errs[i], fmt.Errorf("%s in an open session: %w", name, err))
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(append(errs, w.s.Close())...)
}

// says reports whether an error says that the session has ended, and nothing else.
func says(err error) bool {
	return errors.Is(err, dsm.ErrClosed) || errors.Is(err, dsm.ErrStale) || errors.Is(err, net.ErrClosed)
}

// after uses everything after Close: what can fail says that the session has ended.
func after(cfg dsm.Config, name string, rnd *rand.Rand) error {
	all, err := methods()
	if err != nil {
		return err
	}
	w, err := newWorld(cfg, name)
	if err != nil {
		return err
	}
	errs := []error{w.s.Close()}
	for i := range users {
		for _, name := range shuffled(rnd) {
			switch err := w.use(name, i); {
			case err != nil && !says(err):
				errs = append(errs, fmt.Errorf("%s after Close: %w", name, err))
			case err == nil && all[name] && answers[name] == "":
				errs = append(errs, fmt.Errorf("%s after Close: nil", name))
			}
		}
	}
	return errors.Join(errs...)
}

// answers are the functions that return no error after Close, each with the reason.
var answers = map[string]string{
	"mq.WaitAny": "it says which end has come to its end; the next call on that says why",
}

// during uses everything while the session is closed, and some time after.
func during(cfg dsm.Config, name string, rnd *rand.Rand) error {
	w, err := newWorld(cfg, name)
	if err != nil {
		return err
	}
	var stop atomic.Bool
	errs := make([]error, users)
	var wg sync.WaitGroup
	for i := range users {
		names := shuffled(rnd)
		wg.Go(func() {
			for at := 0; !stop.Load(); at++ {
				name := names[at%len(names)]
				if err := w.use(name, i); err != nil && !says(err) && !waits(err) {
					errs[i] = errors.Join(errs[i], fmt.Errorf("%s during Close: %w", name, err))
					return
				}
			}
		})
	}
	time.Sleep(time.Duration(rnd.IntN(20000)) * time.Microsecond) // any moment will do
	err = w.s.Close()
	time.Sleep(5 * time.Millisecond)
	stop.Store(true)
	wg.Wait()
	return errors.Join(append(errs, err)...)
}
