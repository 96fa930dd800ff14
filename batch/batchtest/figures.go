package batchtest

import (
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/godsm/godsm/batch"
)

// A Side is one of several ways to do the same, which are measured in turn.
type Side struct {
	Name    string
	Rows    int // that one call writes
	Callers int // 0: as many as the comparison is of
	Do      func(n int64) error
	Flushes *atomic.Int64 // those of an engine so far, as Rules.Written counts them; nil: they are not counted
}

// CountFlushes returns the rules with a count of the flushes that have written, for Side.Flushes.
func CountFlushes[Cmd, Res any, Group, Key comparable](rules batch.Rules[Cmd, Res, Group, Key]) (batch.Rules[Cmd, Res, Group, Key], *atomic.Int64) {
	n := new(atomic.Int64)
	rules.Written = func([]Cmd) { n.Add(1) }
	return rules, n
}

// Compare measures sides in turn, a round of all of them in each iteration, and reports the medians over the rounds: of
// each side's rate as a multiple of the first one's ("x"), and of the middle and the 99th latency. The last side's rate
// is also reported as a share of each other side's. Where flushes are counted, it reports too how many of them ended while a call
// took, for the 99th of a hundred calls. Figures of different runs can't be compared, these can.
func Compare(b *testing.B, callers int, slice time.Duration, sides ...Side) {
	rates, p50s, p99s, flushes := make([][]float64, len(sides)), make([][]float64, len(sides)), make([][]float64, len(sides)), make([][]float64, len(sides))
	var n atomic.Int64
	n.Store(time.Now().UnixNano()) // no two rows of a database are the same
	for b.Loop() {
		for i, s := range sides {
			rate, took, ended := s.measure(b, callers, slice, &n)
			rates[i] = append(rates[i], rate)
			p50s[i] = append(p50s[i], took[len(took)/2].Seconds()*1000)
			p99s[i] = append(p99s[i], took[len(took)*99/100].Seconds()*1000)
			if ended != nil {
				flushes[i] = append(flushes[i], float64(ended[len(ended)*99/100]))
			}
		}
	}
	last := len(sides) - 1
	for i, s := range sides {
		b.ReportMetric(median(rates[i]), s.Name+"-rows/s")
		b.ReportMetric(median(p50s[i]), s.Name+"-p50-ms")
		if i > 0 {
			b.ReportMetric(median(ratios(rates[i], rates[0])), s.Name+"-x")
		}
		if len(flushes[i]) > 0 {
			b.ReportMetric(median(flushes[i]), s.Name+"-p99-flushes")
		}
		if i == last {
			b.ReportMetric(median(p99s[i]), s.Name+"-p99-ms")
			b.ReportMetric(median(ratios(p50s[i], p50s[0])), s.Name+"-p50-x")
		} else if i > 0 {
			b.ReportMetric(median(ratios(rates[last], rates[i])), sides[last].Name+"/"+s.Name)
		}
	}
	b.ReportMetric(0, "ns/op")
}

// measure lets callers call for a while, and returns rows a second, how long the calls took, and how many flushes ended
// while each took, if these are counted.
func (s Side) measure(b *testing.B, callers int, slice time.Duration, n *atomic.Int64) (float64, []time.Duration, []int64) {
	if s.Callers > 0 {
		callers = s.Callers
	}
	took, ended := make([][]time.Duration, callers), make([][]int64, callers)
	begun := time.Now()
	var wg sync.WaitGroup
	for caller := range callers {
		wg.Go(func() {
			for {
				at, before := time.Now(), int64(0)
				if s.Flushes != nil {
					before = s.Flushes.Load()
				}
				if err := s.Do(n.Add(int64(s.Rows))); err != nil {
					b.Error(s.Name, err)
					return
				}
				took[caller] = append(took[caller], time.Since(at))
				if s.Flushes != nil {
					ended[caller] = append(ended[caller], s.Flushes.Load()-before)
				}
				if time.Since(begun) > slice {
					return
				}
			}
		})
	}
	wg.Wait()
	span := time.Since(begun)
	all := slices.Concat(took...)
	if len(all) == 0 {
		b.Fatal(s.Name, "has done nothing")
	}
	slices.Sort(all)
	counts := slices.Concat(ended...)
	slices.Sort(counts)
	return float64(len(all)*s.Rows) / span.Seconds(), all, counts
}

func ratios(a, b []float64) []float64 {
	r := make([]float64, len(a))
	for i := range a {
		r[i] = a[i] / b[i]
	}
	return r
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}
