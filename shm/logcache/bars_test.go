package logcache_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/godsm/godsm/shm/logcache"
)

// phases are sizes of values, of keys that are all new, and then how many bytes of the log must be records that are
// wanted.
var phases = []struct {
	name string
	size func(r *rand.Rand) int
	want float64
}{
	{"200", func(*rand.Rand) int { return 200 }, 0.95},
	{"log-normal", func(r *rand.Rand) int { return int(math.Exp(math.Log(150) + 1.2*r.NormFloat64())) }, 0.95},
	{"900-1100", func(r *rand.Rand) int { return 900 + r.IntN(200) }, 0.95},
	{"60-100", func(r *rand.Rand) int { return 60 + r.IntN(40) }, 0.95},
	{"3000-5000", func(r *rand.Rand) int { return 3000 + r.IntN(2000) }, 0.95},
}

// TestPayload: whatever sizes follow each other, nearly all of the log is records that are wanted.
func TestPayload(t *testing.T) {
	limit := 64 << 20
	if testing.Short() {
		limit = 16 << 20
	}
	c := heap(t, limit, logcache.Options{})
	r := rand.New(rand.NewPCG(1, 1))
	k := 0
	value := make([]byte, 1<<16)
	for _, p := range phases {
		for written := 0; written < limit*5/4; k++ {
			n := min(p.size(r), len(value))
			must(t, c.Set(ctx, name(k), value[:n], 0))
			written += n
		}
		rep := clean(t, c)
		part := float64(rep.Live) / float64(rep.Log)
		t.Logf("%-10s %.1f %% of the log; %d entries, %.1f B overhead each", p.name, part*100, rep.Entries,
			float64(limit-rep.Live+rep.Entries*20)/float64(rep.Entries))
		if part < p.want && !testing.Short() {
			t.Errorf("%s: %.3f of the log is wanted", p.name, part)
		}
	}
	// Half of the Sets overwrite.
	keys := c.Stats().Entries
	r = rand.New(rand.NewPCG(2, 2))
	z := rand.NewZipf(r, 1.01, 1, uint64(keys*2))
	base := k
	for written := 0; written < limit*3; {
		n := 60 + r.IntN(1000)
		if r.IntN(2) == 0 {
			k++
			must(t, c.Set(ctx, name(k), value[:n], 0))
		} else {
			must(t, c.Set(ctx, name(base-int(z.Uint64())), value[:n], 0))
		}
		written += n
	}
	rep := clean(t, c)
	part := float64(rep.Live) / float64(rep.Log)
	t.Logf("half overwrites: %.1f %%; %+v", part*100, c.Stats())
	if part < 0.85 {
		t.Errorf("half overwrites: %.3f of the log is wanted", part)
	}
}

// TestOverhead: what an entry takes beside its key and value, in a full cache, all included.
func TestOverhead(t *testing.T) {
	for _, x := range []struct {
		name       string
		key, value int
		most       float64
	}{
		{"16+200", 16, 200, 52},
		{"8+50", 8, 50, 64},
	} {
		t.Run(x.name, func(t *testing.T) {
			limit := 64 << 20
			c := heap(t, limit, logcache.Options{})
			value, key := make([]byte, x.value), make([]byte, 16)
			for k := range limit * 2 / (x.key + x.value) {
				for i := range 8 {
					key[i] = byte(k >> (8 * i))
				}
				must(t, c.Set(ctx, key[:x.key], value, 0))
			}
			rep := clean(t, c)
			over := float64(limit)/float64(rep.Entries) - float64(x.key+x.value)
			t.Logf("%d entries, %.1f B overhead, %.1f %% of the log, %d extents of lines; %+v", rep.Entries, over,
				float64(rep.Live)/float64(rep.Log)*100, rep.Index, c.Stats())
			if over > x.most {
				t.Errorf("an entry takes %.1f B more than its key and value, of at most %.0f", over, x.most)
			}
		})
	}
}
