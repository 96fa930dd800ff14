package logcache_test

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/godsm/godsm/shm/logcache"
)

// TestModel compares random calls with a map: what is found is what was set last, and what is not found was evicted.
func TestModel(t *testing.T) {
	for _, c := range []struct {
		name              string
		limit, keys, most int
		steps             int
	}{
		{"nothing is evicted", 4 << 20, 1000, 300, 40_000},
		{"small values", 1 << 20, 20_000, 60, 80_000},
		{"mixed values", 2 << 20, 10_000, 1500, 60_000},
		{"pieces", 2 << 20, 200, 100_000, 4000},
	} {
		t.Run(c.name, func(t *testing.T) {
			cache := heap(t, c.limit, logcache.Options{Checked: true})
			r := rand.New(rand.NewPCG(1, uint64(c.keys)))
			latest := map[int][]byte{}
			misses := 0
			var buf []byte
			steps := c.steps
			if testing.Short() || !logcache.Lockless {
				steps /= 4
			}
			for step := range steps {
				k := int(float64(c.keys) * r.Float64() * r.Float64())
				switch what := r.IntN(20); {
				case what < 8:
					latest[k] = text(k, step, r.IntN(c.most))
					must(t, cache.Set(ctx, name(k), latest[k], 0))
					if v, found, err := cache.Get(name(k), nil); !found || err != nil || !bytes.Equal(v, latest[k]) {
						t.Fatalf("step %d: key %d just set: %v, %v, %d bytes", step, k, found, err, len(v))
					}
				case what == 8:
					if _, err := cache.Delete(ctx, name(k)); err != nil {
						t.Fatal(err)
					}
					delete(latest, k)
				default:
					v, found, err := cache.Get(name(k), buf[:0])
					must(t, err)
					if want, is := latest[k]; found && (!is || !bytes.Equal(v, want)) {
						t.Fatalf("step %d: key %d: %d bytes, not %d", step, k, len(v), len(want))
					} else if is && !found {
						misses++
						delete(latest, k)
					}
					buf = v
				}
			}
			rep := clean(t, cache)
			t.Logf("%d misses, %+v, %+v", misses, rep, cache.Stats())
			if c.name == "nothing is evicted" && (misses > 0 || rep.Entries != len(latest)) {
				t.Errorf("%d misses, %d entries of %d", misses, rep.Entries, len(latest))
			}
		})
	}
}
