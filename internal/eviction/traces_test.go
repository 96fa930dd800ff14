package eviction_test

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/godsm/godsm/internal/eviction"
	"github.com/godsm/godsm/internal/testing/tracetest"
)

var allTraces = flag.Bool("traces", false, "replay all traces, not a few")

// tuned is a Model with a Tuner, as a cache has it.
type tuned struct {
	*eviction.Model
	tuner *eviction.Tuner
	rate  int
}

func newTuned(limit int64, entries, least int) *tuned {
	c := &tuned{rate: eviction.Rate(entries, least)}
	if least == 1 || entries/c.rate >= eviction.MinModel {
		c.tuner = eviction.NewTuner(max(1, entries/c.rate), eviction.Untuned)
	}
	c.Model = eviction.NewModel(limit, entries, eviction.Settings[eviction.Untuned])
	return c
}

func (c *tuned) access(hash uint64, size int) bool {
	if c.tuner != nil && eviction.Sampled(hash, c.rate) {
		c.Setting = eviction.Settings[c.tuner.Access(hash)]
	}
	return c.Access(hash, size)
}

// best is, by trace, the best of LRU, RelStorage's policy and otter v2.4 at 1, 5, 10 and 25 % of the keys.
var best = map[string][4]float64{
	"web07": {.431, .513, .557, .629}, "gli": {.015, .066, .150, .331}, "multi2": {.202, .428, .510, .631},
	"oltp": {.446, .601, .665, .733}, "scarab": {.420, .544, .606, .721}, "orm-busy": {.770, .845, .887, .939},
	"zipf101": {.632, .741, .782, .831}, "zipf08": {.323, .465, .538, .645},
}

var shares = [4]int{1, 5, 10, 25}

// short are the traces that take a second.
var short = []string{"web07", "gli", "multi2"}

// TestTracesEqualWeights compares hit rates over traces with those of LRU, and with the best of three others.
func TestTracesEqualWeights(t *testing.T) {
	rows, good, mean := 0, 0, 0.0
	for _, tr := range tracetest.Traces {
		t.Run(tr.Name, func(t *testing.T) {
			if best[tr.Name][0] == 0 || !*allTraces && !slices.Contains(short, tr.Name) {
				t.Skip("skipped: run with -traces")
			}
			list := tr.Accesses(t)
			unique, _ := tracetest.Unique(list)
			for i, percent := range shares {
				n := unique * percent / 100
				c, old := newTuned(int64(n), n, 1), newLRU(int64(n))
				hits, lruHits := 0, 0
				for _, a := range list {
					if c.access(a.Hash, 1) {
						hits++
					}
					if old.access(a.Hash, 1) {
						lruHits++
					}
				}
				ours, theirs := float64(hits)/float64(len(list)), float64(lruHits)/float64(len(list))
				lead := ours - max(theirs, best[tr.Name][i])
				rows++
				mean += lead
				if lead >= -0.002 {
					good++
				}
				t.Logf("%2d %% %7d entries: %.3f, LRU %.3f, best of three %.3f; %v", percent, n, ours, theirs,
					best[tr.Name][i], c.Setting)
				if ours < theirs-0.002 || lead < -0.03 {
					t.Errorf("%d %%: %.3f, LRU %.3f, best of three %.3f", percent, ours, theirs, best[tr.Name][i])
				}
			}
		})
	}
	if rows > 0 {
		t.Logf("%d of %d rows better than the best of three or within 0.2 pp, mean %+.2f pp", good, rows,
			mean/float64(rows)*100)
	}
}

// TestTracesBytes compares hit rates of entries that have sizes.
func TestTracesBytes(t *testing.T) {
	for _, tr := range tracetest.Traces {
		t.Run(tr.Name, func(t *testing.T) {
			if strings.HasPrefix(tr.Name, "zipf") || !*allTraces && tr.Name != "web07" && tr.Name != "adapt" {
				t.Skip("skipped: run with -traces")
			}
			list := tr.Accesses(t)
			if tr.Name != "adapt" {
				list = tracetest.Sized(list)
			}
			unique, size := tracetest.Unique(list)
			for _, percent := range shares {
				n, limit := unique*percent/100, int64(size)*int64(percent)/100
				row := ""
				rates := map[string]float64{}
				for _, side := range []struct {
					name   string
					access func(hash uint64, size int) bool
				}{
					{"LRU", newLRU(limit).access},
					{"GDSF", newGDSF(limit).access},
					{"bytes", newTuned(limit, n, 1).access},
					{"objects", favouring(limit, n).Access},
				} {
					hits, bytes, all := 0, 0, 0
					for _, a := range list {
						if all += a.Size; side.access(a.Hash, a.Size) {
							hits++
							bytes += a.Size
						}
					}
					rates[side.name] = float64(hits) / float64(len(list))
					row += fmt.Sprintf(" %s %.3f/%.3f", side.name, rates[side.name], float64(bytes)/float64(all))
				}
				t.Logf("%2d %%:%s (objects/bytes)", percent, row)
				if rates["bytes"] < rates["LRU"]-0.002 ||
					rates["objects"] < max(rates["LRU"]-0.002, rates["GDSF"]-0.045) {
					t.Errorf("%d %%: behind LRU or far behind GDSF: %v", percent, rates)
				}
			}
		})
	}
}

// favouring is the policy for objects, which is not tuned.
func favouring(limit int64, entries int) *eviction.Model {
	m := eviction.NewModel(limit, entries, eviction.Settings[eviction.Untuned])
	m.Objects = true
	return m
}
