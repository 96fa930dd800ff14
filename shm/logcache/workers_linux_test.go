package logcache_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/catalog"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/internal/testing/proctest"
	"github.com/godsm/godsm/shm/logcache"
)

var stopTime = flag.Duration("stop", 100*time.Millisecond, "for how long TestStoppedWriter stops a process that holds a lock")

func init() {
	proctest.Register("filler", filler)
	proctest.Register("reader", reader)
}

const pssEntries = 200_000

// filler makes a cache and sets entries: DIR LIMIT ENTRIES.
func filler(p *proctest.Child) error {
	s, err := dsm.Open(ctx, dsm.Config{Dir: p.Args[0]})
	if err != nil {
		return err
	}
	defer s.Close()
	var limit, entries int
	if _, err := fmt.Sscan(p.Args[1]+" "+p.Args[2], &limit, &entries); err != nil {
		return err
	}
	g, err := s.Create(ctx, s.Owner(), limit)
	if err != nil {
		return err
	}
	c, err := logcache.Create(g.Region(), s.Self(), logcache.Options{})
	if err != nil {
		return err
	}
	for k := range entries {
		if err := c.Set(ctx, name(k), text(k, 1, 200), 0); err != nil {
			return err
		}
	}
	p.Say("%s", g.Handle())
	p.Hear()
	return nil
}

// reader opens a session, and, when it is told a handle, gets every entry: DIR.
func reader(p *proctest.Child) error {
	p.Say("on")
	for {
		handle, ok := p.Hear()
		if !ok {
			return nil
		}
		c, s, err := found([]string{p.Args[0], handle}, logcache.Options{})
		if err != nil {
			return err
		}
		defer s.Close()
		hits, buf := 0, []byte(nil)
		for k := range pssEntries {
			var is bool
			if buf, is, err = c.Get(name(k), buf[:0]); err != nil {
				return err
			}
			if is {
				if err := check(k, buf); err != nil {
					return err
				}
				hits++
			}
		}
		p.Say("hits %d of %d", hits, c.Stats().Entries)
	}
}

// pss is the proportional set size of a process, in bytes: a page that n processes map counts as an n-th.
func pss(t *testing.T, pid int) (n int) {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		t.Skip("skipped:", err)
	}
	for line := range strings.Lines(string(b)) {
		if _, err := fmt.Sscanf(line, "Pss: %d kB", &n); err == nil {
			return n << 10
		}
	}
	t.Fatalf("no Pss in %q", b)
	return 0
}

// TestWorkersMemory: eight workers that have all read one cache take the memory of one cache, and what eight workers
// take that have made the same calls on an empty one, their own heaps included.
func TestWorkersMemory(t *testing.T) {
	const limit = 64 << 20
	cfg := instancetest.Config(t, catalog.Default())
	instancetest.Start(t, cfg)
	f := proctest.Start(t, "filler", cfg.Dir, fmt.Sprint(limit), fmt.Sprint(pssEntries))
	handle := f.Expect("")
	none := proctest.Start(t, "filler", cfg.Dir, fmt.Sprint(logcache.MinLimit), "0").Expect("")
	var list [7]*proctest.Process // and the filler
	for i := range list {
		list[i] = proctest.Start(t, "reader", cfg.Dir)
		list[i].Expect("on")
		list[i].Send("%s", none)
		list[i].Expect("hits 0 of 0")
	}
	empty := 0
	for _, p := range list {
		empty += pss(t, p.Pid)
	}
	empty = empty * 8 / 7
	sum := 0
	for _, p := range list {
		p.Send("%s", handle)
		var hits, entries int
		if _, err := fmt.Sscanf(p.Expect("hits "), "%d of %d", &hits, &entries); err != nil || hits < entries*99/100 {
			t.Errorf("%d hits, and there are %d entries: %v", hits, entries, err)
		}
	}
	for _, p := range append(list[:], f) {
		sum += pss(t, p.Pid)
	}
	t.Logf("eight workers on %d MB: %.1f MB; eight on an empty cache: %.1f MB", limit>>20, float64(sum)/(1<<20), float64(empty)/(1<<20))
	if sum > limit*11/10+empty {
		t.Errorf("the workers take %d bytes, of a cache of %d, and %d without it", sum, limit, empty)
	}
}

// TestStoppedWriter: while a process that holds a shard's lock is stopped, Gets go on, and Sets of other shards; a Set
// of its shard names it. When it goes on, so does everything, and nothing is spoilt.
func TestStoppedWriter(t *testing.T) {
	c, _, args := made(t, catalog.Default(), 16<<20)
	const keys = 2000
	for k := range keys {
		must(t, c.Set(ctx, name(k), text(k, 1, 100), 0))
	}
	p := proctest.Start(t, "stopper", args...)
	p.Expect("holding")
	must(t, p.Stop())
	gets, sets, refused := 0, 0, 0
	for begin := time.Now(); refused == 0 || time.Since(begin) < *stopTime; {
		for k := range keys {
			if !logcache.Lockless && logcache.ShardOf(c, name(k)) == 0 {
				continue
			}
			v, is, err := c.Get(name(k), nil)
			must(t, err)
			if !is || check(k, v) != nil {
				t.Fatalf("key %d: %v, %v", k, is, check(k, v))
			}
			gets++
			if logcache.ShardOf(c, name(k)) != 0 {
				must(t, c.Set(ctx, name(k), text(k, 2, 100), 0))
				sets++
				continue
			}
			if k%500 != 0 && refused > 0 {
				continue
			}
			short, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
			err = c.Set(short, name(k), text(k, 2, 100), 0)
			cancel()
			if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "held by") {
				t.Fatalf("a Set of the stopped process's shard: %v", err)
			}
			refused++
		}
	}
	t.Logf("%d gets and %d sets, %d sets refused while a process was stopped", gets, sets, refused)
	must(t, p.Cmd.Process.Signal(syscall.SIGCONT))
	p.Send("release")
	for k := range keys {
		must(t, c.Set(ctx, name(k), text(k, 3, 100), 0))
	}
	must(t, p.Close())
	clean(t, c)
	if s := c.Stats(); s.Repaired != 0 || s.Lost != 0 {
		t.Errorf("%+v", s)
	}
}
