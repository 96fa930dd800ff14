package eviction

import "math"

// Tuner runs a Model for each of the Settings on a sample of a cache's accesses, and names the one that has hit most.
// It is used by one goroutine at a time. Losing one costs what it has learned.
type Tuner struct {
	models  [len(Settings)]*Model
	scores  [len(Settings)]float64
	weight  float64 // of the accesses in the scores
	hits    [len(Settings)]int
	seen    int
	round   int // accesses between two looks at the scores
	entries int
	now     int
}

const (
	decay = 0.95
	// lead is how far another setting must be ahead in hits, as a multiple of the root of the accesses in the scores:
	// what two settings differ by chance grows like that. Two of them disagree about one access in ten or so, of which
	// the root is 0.3 of that root.
	lead = 0.3
	// minRound is how many accesses are between two looks at the least: the hits of fewer are mostly chance.
	minRound = 1024
)

// MinModel and MaxModel bound the entries of a model: fewer tell nothing, more tell no more.
const (
	MinModel = 256
	MaxModel = 2048
)

// NewTuner returns a tuner whose models have so many entries each, for a cache whose setting is now the one of that
// index.
func NewTuner(entries, now int) *Tuner {
	t := &Tuner{round: max(entries, minRound), entries: entries, now: now}
	for i, s := range Settings {
		t.models[i] = NewModel(int64(entries), entries, s)
	}
	return t
}

// Entries returns how many each model has.
func (t *Tuner) Entries() int { return t.entries }

// Access has each model look an entry up, and returns the index in Settings of what the cache should use from now on.
func (t *Tuner) Access(hash uint64) int {
	for i, m := range t.models {
		if m.Access(hash, 1) {
			t.hits[i]++
		}
	}
	if t.seen++; t.seen >= t.round {
		t.compareSettings()
	}
	return t.now
}

func (t *Tuner) compareSettings() {
	t.weight = t.weight*decay + float64(t.seen)
	best := t.now
	for i := range t.scores {
		t.scores[i] = t.scores[i]*decay + float64(t.hits[i])
		t.hits[i] = 0
		if t.scores[i] > t.scores[best] {
			best = i
		}
	}
	t.seen = 0
	if t.scores[best] > t.scores[t.now]+lead*math.Sqrt(t.weight) {
		t.now = best
	}
}

// Rate returns of how many hashes one is sampled for a cache of so many entries, a power of two of at least least: those
// hashes h for which Sampled(h, rate).
func Rate(entries, least int) int {
	r := least
	for entries/r > MaxModel*2-1 {
		r *= 2
	}
	return r
}

// Sampled reports whether a hash is one of the sample.
func Sampled(hash uint64, rate int) bool { return hash*0x9e37_79b9_7f4a_7c15>>32&uint64(rate-1) == 0 }
