package eviction_test

import (
	"testing"

	"github.com/godsm/godsm/internal/eviction"
	"github.com/godsm/godsm/internal/testing/tracetest"
)

// TestSketchCounts: counts go up to 15, are never too low for a hash that was just added, and age.
func TestSketchCounts(t *testing.T) {
	var hand uint64
	s := eviction.NewSketch(make([]uint64, eviction.SketchWords(1000)), &hand)
	for k := range uint64(100) {
		for range k % 20 {
			s.Add(tracetest.Hash(k))
		}
	}
	for k := range uint64(100) {
		if n := s.Count(tracetest.Hash(k)); n < int(min(k%20, 15))/2 || n > 15 {
			t.Errorf("hash %d was added %d times: %d", k, k%20, n)
		}
	}
	for k := range uint64(100_000) {
		s.Add(tracetest.Hash(k + 1000))
	}
	sum := 0
	for k := range uint64(100) {
		sum += s.Count(tracetest.Hash(k))
	}
	if sum > 700 {
		t.Errorf("after many others, the counts of 100 hashes are %d", sum)
	}
	if n := (eviction.Sketch{}).Count(1); n != 0 {
		t.Errorf("an empty sketch counts %d", n)
	}
}

// TestGhostRemembers: the latest drops are remembered, old ones are not, and one is taken once.
func TestGhostRemembers(t *testing.T) {
	var drops uint64
	const n = 1000
	g := eviction.NewGhost(make([]uint32, eviction.GhostWords(n)), &drops)
	for k := range uint64(10 * n) {
		g.Add(tracetest.Hash(k))
	}
	late, early := 0, 0
	for k := range uint64(n / 2) {
		if g.Take(tracetest.Hash(10*n - 1 - k)) {
			late++
		}
		if g.Take(tracetest.Hash(10*n - 1 - k)) {
			t.Fatal("a hash was taken twice")
		}
		if g.Take(tracetest.Hash(k + 5*n)) {
			early++
		}
	}
	if late < n/2*8/10 || early > n/100 {
		t.Errorf("%d of %d late ones and %d early ones are remembered", late, n/2, early)
	}
	if (eviction.Ghost{}).Take(1) {
		t.Error("an empty ghost remembers")
	}
}

// TestModelKeepsItsLimit: at every moment, for each setting, with sizes.
func TestModelKeepsItsLimit(t *testing.T) {
	list := tracetest.Sized(tracetest.Zipf(0.9, 5000, 50_000))
	for _, s := range eviction.Settings {
		for _, objects := range []bool{false, true} {
			m := eviction.NewModel(200_000, 600, s)
			m.Objects = objects
			for i, a := range list {
				if i == len(list)/2 { // another setting finds the entries where they are
					m.Setting = eviction.Settings[eviction.Untuned]
				}
				hit := m.Access(a.Hash, a.Size)
				if n := m.Bytes(eviction.Window) + m.Bytes(eviction.Main); n > m.Limit() || n < 0 {
					t.Fatalf("%v: %d bytes of %d", s, n, m.Limit())
				}
				if hit != m.Access(a.Hash, a.Size) && a.Size > 200_000 {
					t.Fatalf("%v: an entry that was just used is gone", s)
				}
			}
			if m.Len() < 200 {
				t.Errorf("%v: only %d entries", s, m.Len())
			}
		}
	}
}

// TestTunerFinds the rule by frequency for a loop that is larger than the cache, and recency for draws whose popular
// keys change all the time.
func TestTunerFinds(t *testing.T) {
	const n = 400
	for name, c := range map[string]struct {
		key func(i int) uint64
		ok  func(s eviction.Setting) bool
	}{
		"a loop": {
			func(i int) uint64 { return uint64(i % (2 * n)) },
			func(s eviction.Setting) bool { return s.Percent <= 20 },
		},
		"drift": {
			func(i int) uint64 { return uint64(i/4) - uint64(i*7919%n)*uint64(i%3)/4 },
			func(s eviction.Setting) bool { return s.Percent >= 20 },
		},
	} {
		t.Run(name, func(t *testing.T) {
			tuner, now := eviction.NewTuner(n, eviction.Untuned), 0
			for i := range 100_000 {
				now = tuner.Access(tracetest.Hash(c.key(i)))
			}
			if s := eviction.Settings[now]; !c.ok(s) {
				t.Errorf("it has chosen %v", s)
			}
		})
	}
}

// TestSampleIsFair: of so many hashes about one is sampled, and a rate's sample has that of the next one.
func TestSampleIsFair(t *testing.T) {
	if r := eviction.Rate(1_000_000, 64); r < 64 || 1_000_000/r >= 2*eviction.MaxModel || 1_000_000/r < eviction.MaxModel/2 {
		t.Errorf("rate %d", r)
	}
	n := 0
	for k := range uint64(1 << 16) {
		h := tracetest.Hash(k)
		if eviction.Sampled(h, 64) {
			n++
		} else if eviction.Sampled(h, 128) {
			t.Error("a sample is none of the larger one")
		}
	}
	if n < 900 || n > 1150 {
		t.Errorf("%d of %d are sampled", n, 1<<16)
	}
}
