package locktable_test

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/internal/testing/proctest"
	"github.com/godsm/godsm/locktable"
)

var bars = flag.Bool("bars", false, "as many processes, names and deaths as doc/locktable.md has figures of")

func init() {
	proctest.Register("reader or writer", readerOrWriter)
	proctest.Register("holder of many", holderOfMany)
}

// try is one lock of a readerOrWriter: when it was asked for, had, and given back.
type try struct {
	writes             bool
	asked, had, parted int64
	delay              int64 // for how long the process had threads ready to run and no processor, between asked and had
}

// readerOrWriter locks one name, now and then exclusively: DIR SEED ROUNDS. It holds it for a millisecond.
func readerOrWriter(p *proctest.Child) error {
	s, err := dsm.Open(ctx, dsm.Config{Dir: p.Args[0]})
	if err != nil {
		return err
	}
	defer s.Close()
	x, err := locktable.Open(ctx, s, "locks", locktable.Options{})
	if err != nil {
		return err
	}
	seed, _ := strconv.Atoi(p.Args[1])
	rounds, _ := strconv.Atoi(p.Args[2])
	var q runQueue
	q.delay()
	p.Say("ready")
	p.Hear()
	for round := range rounds {
		before := q.delay()
		t := try{writes: (seed+round)%10 == 0, asked: time.Now().UnixNano()}
		m := locktable.Shared
		if t.writes {
			m = locktable.Exclusive
		}
		h, err := x.Lock(ctx, m, "a")
		if err != nil {
			return err
		}
		t.had = time.Now().UnixNano()
		t.delay = int64(q.delay() - before)
		time.Sleep(time.Millisecond)
		t.parted = time.Now().UnixNano()
		if err := h.Unlock(); err != nil {
			return err
		}
		p.Say("%v %d %d %d %d", t.writes, t.asked, t.had, t.parted, t.delay)
	}
	return nil
}

// TestReadersAndWriters: many processes, of whose locks one in ten is exclusive. No writer is in with another one,
// readers are in together, and no one who comes later goes before one who has waited for long.
func TestReadersAndWriters(t *testing.T) {
	n, rounds := 12, 10
	if *bars {
		n, rounds = 150, 20
	}
	cfg := instancetest.Config(t, "posix", "max_processes", "200", "max_segments", "400")
	instancetest.Start(t, cfg)
	var ps []*proctest.Process
	for i := range n {
		p := proctest.Start(t, "reader or writer", cfg.Dir, fmt.Sprint(i), fmt.Sprint(rounds))
		ps = append(ps, p)
	}
	for _, p := range ps {
		p.Expect("ready")
	}
	busy, all := cpus()
	for _, p := range ps {
		p.Send("go")
	}
	var tries []try
	for _, p := range ps {
		for range rounds {
			line, ok := p.Line()
			var x try
			if _, err := fmt.Sscan(line, &x.writes, &x.asked, &x.had, &x.parted, &x.delay); !ok || err != nil {
				t.Fatalf("%q: %v: %s", line, err, p.Stderr())
			}
			tries = append(tries, x)
		}
		must(t, p.Close())
	}
	busyAfter, allAfter := cpus()
	slices.SortFunc(tries, func(a, b try) int { return int(a.had - b.had) })
	together, overtaken, late, queued := 0, 0, 0, 0
	var longest [2]time.Duration
	var free time.Duration // the longest time of a wait in which the lock was held by no one who had asked before
	for i, x := range tries {
		k := 0
		if x.writes {
			k = 1
		}
		wait := time.Duration(x.had - x.asked)
		longest[k] = max(longest[k], wait)
		in, over := 1, 0
		for j, y := range tries[:i] {
			if y.parted > x.had {
				in++
				if x.writes || y.writes {
					t.Errorf("a writer is in with another one, at tries %d and %d", i, j)
				}
			}
			if y.asked > x.asked+int64(2*time.Millisecond) && (x.writes || y.writes) {
				over++
			}
		}
		together, overtaken = max(together, in), max(overtaken, over)
		ahead, hold, queue := tries[i].waitedFor(tries[:i])
		free = max(free, wait-ahead)
		if allowed := ahead + ahead/10 + time.Millisecond + hold; wait > allowed {
			late++
			if wait-queue <= allowed {
				queued++
			}
		}
	}
	t.Logf("%d processes, %d locks: %d readers in at once, waits of readers %v and writers %v at most, of which %v at most "+
		"without one ahead in it, at most %d in conflict that asked 2 ms later went first", n, len(tries), together, longest[0], longest[1], free, overtaken)
	t.Logf("%d waits were longer than the holds ahead and 10 %% and 1 ms and one hold, %d of them because those that were to have the lock "+
		"waited for a processor; %d %% of the processors' time was in use", late, queued, 100*(busyAfter-busy)/max(1, allAfter-all))
	if together < 2 {
		t.Errorf("%d readers in at once", together)
	}
}

// waitedFor returns for how long the lock was held during a wait by those that had asked before, the longest hold in it,
// and for how long it was free while the one that took it next waited for a processor. Earlier are the tries that had
// the lock before, in that order.
func (x try) waitedFor(earlier []try) (ahead, hold, queue time.Duration) {
	held, until := x.asked, x.asked // held is until when the lock was held by those that had asked before, until by any
	for _, y := range append(slices.Clip(earlier), x) {
		if gap := y.had - until; gap > 0 {
			queue += time.Duration(min(gap, y.delay))
		}
		if y == x || y.parted <= x.asked {
			continue
		}
		hold, until = max(hold, time.Duration(y.parted-y.had)), max(until, y.parted)
		if end := min(y.parted, x.had); end > held && (y.asked <= x.asked+int64(2*time.Millisecond) || !x.writes && !y.writes) {
			ahead += time.Duration(end - max(y.had, held))
			held = end
		}
	}
	return ahead, hold, queue
}

// holderOfMany holds a hundred names, until it is killed: DIR FROM.
func holderOfMany(p *proctest.Child) error {
	s, err := dsm.Open(ctx, dsm.Config{Dir: p.Args[0]})
	if err != nil {
		return err
	}
	defer s.Close()
	x, err := locktable.Open(ctx, s, "locks", locktable.Options{})
	if err != nil {
		return err
	}
	from, _ := strconv.Atoi(p.Args[1])
	for k := range 100 {
		if _, err := x.Lock(ctx, locktable.Exclusive, digest(from+k)); err != nil {
			return err
		}
	}
	p.Say("in")
	p.Hear()
	return nil
}

// TestNamesInTurnWithDeaths: names are locked in turn, and the holder of one in a hundred is killed. In the end the
// table is as it was, and there is no file or descriptor of a lock.
func TestNamesInTurnWithDeaths(t *testing.T) {
	kills := 2
	if *bars {
		kills = 100
	}
	cfg := instancetest.Config(t, "posix")
	instancetest.Start(t, cfg)
	s := instancetest.Open(t, cfg)
	x, err := locktable.Open(ctx, s, "locks", locktable.Options{})
	must(t, err)
	used := func() (bytes int64, files, descriptors int) {
		st, err := x.Area().Stats(ctx)
		must(t, err)
		for _, f := range list(t, "/dev/shm") {
			if strings.Contains(f, instancetest.ID(t, cfg.Dir).String()[:8]) {
				files++
			}
		}
		return st.Used, files, len(list(t, "/proc/self/fd"))
	}
	must(t, lock(t, x, ctx, locktable.Exclusive, "a").Unlock())
	bytes, files, descriptors := used()
	told := 0
	for i := range kills {
		v := proctest.Start(t, "holder of many", cfg.Dir, fmt.Sprint(10_000*i))
		v.Expect("in")
		v.Kill()
		for k := range 10_000 {
			h := lock(t, x, ctx, locktable.Exclusive, digest(10_000*i+k))
			if _, died := h.Recovered(); died {
				told++
				must(t, h.Repaired())
			}
			must(t, h.Unlock())
		}
	}
	if told != 100*kills {
		t.Errorf("%d of %d deaths were told", told, 100*kills)
	}
	must(t, x.Collect())
	b, f, d := used()
	t.Logf("%d names in turn, %d holders killed: %d bytes more, %d files, %d descriptors", 10_000*kills, 100*kills, b-bytes, f-files, d-descriptors)
	if b-bytes > 1<<20 || f > files+1 || d > descriptors+2 {
		t.Errorf("from %d bytes, %d files, %d descriptors to %d, %d, %d", bytes, files, descriptors, b, f, d)
	}
	for i := range x.List() {
		t.Errorf("%s is left: %+v", i.Name(), i)
	}
}

func list(t *testing.T, dir string) (names []string) {
	entries, err := os.ReadDir(dir)
	must(t, err)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// TestNextInAfterKill kills holders while another session waits, and notes how long it takes until that has the lock.
func TestNextInAfterKill(t *testing.T) {
	kills := 3
	if *bars {
		kills = 200
	}
	cfg := instancetest.Config(t, "posix")
	instancetest.Start(t, cfg)
	s := instancetest.Open(t, cfg)
	x, err := locktable.Open(ctx, s, "locks", locktable.Options{})
	must(t, err)
	var took []time.Duration
	for range kills {
		v := proctest.Start(t, "holder", cfg.Dir, "exclusive", "a")
		v.Expect("in")
		in := make(chan time.Time, 1)
		done := begin(t, x, 1, func() error {
			h, err := x.Lock(ctx, locktable.Exclusive, "a")
			in <- time.Now()
			if err == nil {
				err = h.Repaired()
			}
			if err == nil {
				err = h.Unlock()
			}
			return err
		}, "a")
		killed := time.Now()
		v.Kill()
		took = append(took, (<-in).Sub(killed))
		must(t, <-done)
	}
	slices.Sort(took)
	t.Logf("%d holders killed: the next one in after %v in half of them, %v in 99 of 100, %v at most", kills, took[len(took)/2],
		took[len(took)*99/100], took[len(took)-1])
}
