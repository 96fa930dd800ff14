package batchtest

import (
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A Side is one of several ways to do the same, which are measured in turn.
type Side struct {
	Name    string
	Rows    int // that one call writes
	Callers int // 0: as many as the comparison is of
	Do      func(n int64) error
}

// Compare measures sides in turn, a round of all of them in each iteration, and reports the medians over the rounds: of
// each side's rate as a multiple of the first one's ("x"), and of the middle and the 99th latency. The last side's rate
// is also reported as a share of each other side's. Figures of different runs can't be compared, these can.
func Compare(b *testing.B, callers int, slice time.Duration, sides ...Side) {
	rates, p50s, p99s := make([][]float64, len(sides)), make([][]float64, len(sides)), make([][]float64, len(sides))
	var n atomic.Int64
	n.Store(time.Now().UnixNano()) // no two rows of a database are the same
	for b.Loop() {
		for i, s := range sides {
			rate, took := s.measure(b, callers, slice, &n)
			rates[i] = append(rates[i], rate)
			p50s[i] = append(p50s[i], took[len(took)/2].Seconds()*1000)
			p99s[i] = append(p99s[i], took[len(took)*99/100].Seconds()*1000)
		}
	}
	last := len(sides) - 1
	for i, s := range sides {
		b.ReportMetric(median(rates[i]), s.Name+"-rows/s")
		b.ReportMetric(median(p50s[i]), s.Name+"-p50-ms")
		if i > 0 {
			b.ReportMetric(median(ratios(rates[i], rates[0])), s.Name+"-x")
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

// measure lets callers call for a while, and returns rows a second and how long the calls took.
func (s Side) measure(b *testing.B, callers int, slice time.Duration, n *atomic.Int64) (float64, []time.Duration) {
	if s.Callers > 0 {
		callers = s.Callers
	}
	took := make([][]time.Duration, callers)
	begun := time.Now()
	var wg sync.WaitGroup
	for caller := range callers {
		wg.Go(func() {
			for {
				at := time.Now()
				if err := s.Do(n.Add(int64(s.Rows))); err != nil {
					b.Error(s.Name, err)
					return
				}
				took[caller] = append(took[caller], time.Since(at))
				if time.Since(begun) > slice {
					return
				}
			}
		})
	}
	wg.Wait()
	all := slices.Concat(took...)
	if len(all) == 0 {
		b.Fatal(s.Name, "has done nothing")
	}
	slices.Sort(all)
	return float64(len(all)*s.Rows) / time.Since(begun).Seconds(), all
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
