// Package stat has the few numbers that the bench reports of repeated measurements.
package stat

import (
	"math"
	"slices"
)

// Median returns the middle one, or the mean of the two middle ones; NaN of nothing.
func Median(x []float64) float64 { return Quantile(x, 0.5) }

// Quantile returns the value below which the share q of x lies, between neighbours in proportion; NaN of nothing.
func Quantile(x []float64, q float64) float64 {
	if len(x) == 0 {
		return math.NaN()
	}
	s := slices.Sorted(slices.Values(x))
	at := q * float64(len(s)-1)
	low := int(at)
	if low+1 == len(s) {
		return s[low]
	}
	return s[low] + (at-float64(low))*(s[low+1]-s[low])
}

// Spread returns how far the middle half of the repeats reaches, over their median: one wild repeat in
// seven does not count, two do.
func Spread(x []float64) float64 {
	return (Quantile(x, 0.75) - Quantile(x, 0.25)) / Median(x)
}

// Ratio returns the median, over the rounds, of ours divided by theirs: what slows down both sides
// of a round leaves it alone. Rounds that one of them lacks don't count.
func Ratio(ours, theirs []float64) float64 {
	var r []float64
	for i := range min(len(ours), len(theirs)) {
		r = append(r, ours[i]/theirs[i])
	}
	return Median(r)
}
