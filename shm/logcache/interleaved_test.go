package logcache_test

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"testing"

	"github.com/godsm/godsm/internal/catalog"
	"github.com/godsm/godsm/internal/testing/proctest"
	"github.com/godsm/godsm/internal/testing/tracetest"
	"github.com/godsm/godsm/shm/logcache"
)

func init() { proctest.Register("replayer", replayer) }

// drawn are the accesses that the processes replay.
func drawn(n int) []tracetest.Access { return tracetest.Zipf(0.9, 100_000, n) }

// replayer replays every n-th access, of as many at a time as it is told: DIR HANDLE ACCESSES FIRST N.
func replayer(p *proctest.Child) error {
	c, s, err := found(p.Args, logcache.Options{})
	if err != nil {
		return err
	}
	defer s.Close()
	var all, at, step int
	if _, err := fmt.Sscan(fmt.Sprint(p.Args[2], " ", p.Args[3], " ", p.Args[4]), &all, &at, &step); err != nil {
		return err
	}
	list := drawn(all)
	p.Say("on")
	hits := 0
	for {
		line, ok := p.Hear()
		if !ok {
			return nil
		}
		end, err := strconv.Atoi(line)
		if err != nil {
			return err
		}
		for ; at < min(end, all); at += step {
			hit, err := access(c, list[at])
			if err != nil {
				return err
			}
			if hit {
				hits++
			}
		}
		p.Say("hits %d", hits)
	}
}

// access is a get, and a set on a miss.
func access(c *logcache.Cache, a tracetest.Access) (hit bool, err error) {
	var key [16]byte
	var buf [200]byte
	binary.LittleEndian.PutUint64(key[:], a.Hash)
	if _, hit, err = c.Get(key[:], buf[:0]); err == nil && !hit {
		err = c.Set(ctx, key[:], buf[:], 0)
	}
	return hit, err
}

// TestInterleaved: the hit rate of four processes that share one cache is that of one process that has the same cache
// and all their accesses; four private caches, each of a quarter of the limit, hit far less.
func TestInterleaved(t *testing.T) {
	if !logcache.Lockless {
		t.Skip("skipped: hits are not counted in this build")
	}
	const workers, limit = 4, 4 << 20
	n := 400_000
	if testing.Short() {
		n = 100_000
	}
	list := drawn(n)
	one, apart := 0, 0
	c, private := heap(t, limit, logcache.Options{}), [workers]*logcache.Cache{}
	for i := range private {
		private[i] = heap(t, limit/workers, logcache.Options{})
	}
	for i, a := range list {
		hit, err := access(c, a)
		must(t, err)
		if hit {
			one++
		}
		hit, err = access(private[i%workers], a)
		must(t, err)
		if hit {
			apart++
		}
	}
	shared, _, args := made(t, catalog.Default(), limit)
	var ps [workers]*proctest.Process
	for i := range ps {
		ps[i] = proctest.Start(t, "replayer", append(args, strconv.Itoa(n), strconv.Itoa(i), strconv.Itoa(workers))...)
		ps[i].Expect("on")
	}
	together := 0
	for at := 0; at < n; at += 1000 {
		together = 0
		for _, p := range ps {
			p.Send("%d", at+1000)
		}
		for _, p := range ps {
			hits, err := strconv.Atoi(p.Expect("hits "))
			must(t, err)
			together += hits
		}
	}
	clean(t, shared)
	rate := func(hits int) float64 { return float64(hits) / float64(n) * 100 }
	t.Logf("one process %.2f %%, four on one cache %.2f %%, four with caches of their own %.2f %%", rate(one), rate(together), rate(apart))
	if d := rate(together) - rate(one); d < -0.2 || d > 0.2 || apart >= together {
		t.Errorf("four processes hit %.2f %%, one %.2f %%, four apart %.2f %%", rate(together), rate(one), rate(apart))
	}
}
