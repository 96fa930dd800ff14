package logcache_test

import (
	"encoding/binary"
	"flag"
	"testing"

	"github.com/godsm/godsm/internal/eviction"
	"github.com/godsm/godsm/internal/testing/tracetest"
	"github.com/godsm/godsm/shm/logcache"
)

var allTraces = flag.Bool("traces", false, "replay all traces, not a few")

// TestTraces replays traces, get and then set on a miss, and compares the hit rate with that of the policy alone and of
// LRU, for as many entries as the cache has had on the average.
func TestTraces(t *testing.T) {
	if testing.Short() || !logcache.Lockless {
		t.Skip("skipped: -short, or hits are not counted in this build")
	}
	few := map[string]int{"oltp": 10, "web07": 25, "scarab": 5}
	rows, sum := 0, 0.0
	for _, tr := range tracetest.Traces {
		t.Run(tr.Name, func(t *testing.T) {
			if tr.Name == "adapt" || !*allTraces && few[tr.Name] == 0 {
				t.Skip("skipped: run with -traces")
			}
			list := tr.Accesses(t)
			unique, _ := tracetest.Unique(list)
			for _, percent := range []int{1, 5, 10, 25} {
				n := unique * percent / 100
				if n < 4096 || !*allTraces && percent != few[tr.Name] {
					continue
				}
				got, mean := replay(t, list, n*264)
				model, old := newTuned(mean), newLRU(mean)
				want, lru := 0, 0
				for _, a := range list {
					if model.access(a.Hash) {
						want++
					}
					if old.access(a.Hash) {
						lru++
					}
				}
				ours, pure := float64(got)/float64(len(list))*100, float64(want)/float64(len(list))*100
				rows++
				sum += ours - pure
				t.Logf("%2d %%: %7d entries: %.2f %%, the policy alone %.2f %%, LRU %.2f %%", percent, mean, ours, pure,
					float64(lru)/float64(len(list))*100)
				if ours < pure-0.6 {
					t.Errorf("%d %%: %.2f pp behind the policy alone", percent, pure-ours)
				}
			}
		})
	}
	if rows > 0 {
		t.Logf("%d rows, mean %+.2f pp to the policy alone", rows, sum/float64(rows))
	}
}

// replay returns the hits of a cache with that limit, and how many entries it has had on the average once it was full.
func replay(t *testing.T, list []tracetest.Access, limit int) (hits, entries int) {
	c := heap(t, limit, logcache.Options{})
	var key [16]byte
	value, sum, looks := make([]byte, 200), 0, 0
	buf := make([]byte, 0, 256)
	for i, a := range list {
		binary.LittleEndian.PutUint64(key[:], a.Hash)
		_, found, err := c.Get(key[:], buf)
		must(t, err)
		if found {
			hits++
		} else {
			must(t, c.Set(ctx, key[:], value, 0))
		}
		if i%1000 == 0 {
			if s := c.Stats(); s.Evicted > 0 {
				sum += s.Entries
				looks++
			}
		}
	}
	clean(t, c)
	t.Logf("%+v", c.Stats())
	return hits, sum / max(looks, 1)
}

// tuned is the policy alone, as the engine has it.
type tuned struct {
	*eviction.Model
	tuner *eviction.Tuner
	rate  int
}

func newTuned(entries int) *tuned {
	c := &tuned{rate: eviction.Rate(entries, 1)}
	c.tuner = eviction.NewTuner(entries/c.rate, eviction.Untuned)
	c.Model = eviction.NewModel(int64(entries), entries, eviction.Settings[eviction.Untuned])
	return c
}

func (c *tuned) access(hash uint64) bool {
	if eviction.Sampled(hash, c.rate) {
		c.Setting = eviction.Settings[c.tuner.Access(hash)]
	}
	return c.Access(hash, 1)
}

// lru is what everything is compared with: a ring of entries by index.
type lru struct {
	limit int
	index map[uint64]int32
	nodes []lruNode
}

type lruNode struct {
	hash       uint64
	prev, next int32
}

func newLRU(limit int) *lru {
	return &lru{limit: limit, index: map[uint64]int32{}, nodes: make([]lruNode, 1)} // node 0 is the head of the ring
}

func (c *lru) access(hash uint64) bool {
	i, ok := c.index[hash]
	switch {
	case ok:
	case len(c.nodes) <= c.limit:
		i = int32(len(c.nodes))
		c.nodes = append(c.nodes, lruNode{prev: i, next: i})
	default:
		i = c.nodes[0].prev
		delete(c.index, c.nodes[i].hash)
	}
	n := &c.nodes[i]
	c.nodes[n.prev].next, c.nodes[n.next].prev = n.next, n.prev
	n.hash, n.prev, n.next = hash, 0, c.nodes[0].next
	c.nodes[n.next].prev, c.nodes[0].next = i, i
	c.index[hash] = i
	return ok
}
