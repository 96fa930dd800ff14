package stat

import (
	"math"
	"testing"
)

func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	if math.Abs(got-want) > 1e-9 {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func TestQuantile(t *testing.T) {
	near(t, "odd", Median([]float64{3, 1, 2}), 2)
	near(t, "even", Median([]float64{4, 1, 3, 2}), 2.5)
	near(t, "one", Quantile([]float64{7}, 0.99), 7)
	near(t, "least", Quantile([]float64{5, 9, 1}, 0), 1)
	near(t, "most", Quantile([]float64{5, 9, 1}, 1), 9)
	near(t, "between", Quantile([]float64{0, 10}, 0.99), 9.9)
	if !math.IsNaN(Median(nil)) {
		t.Error("the median of nothing is a number")
	}
}

func TestMedianLeavesItsInputAlone(t *testing.T) {
	x := []float64{3, 1, 2}
	Median(x)
	if x[0] != 3 || x[1] != 1 {
		t.Error("sorted in place: rounds would no longer match")
	}
}

func TestSpread(t *testing.T) {
	near(t, "none", Spread([]float64{5, 5, 5, 5}), 0)
	near(t, "one wild of seven", Spread([]float64{10, 10, 10, 10, 10, 10, 900}), 0)
	if s := Spread([]float64{10, 10, 10, 10, 90, 90, 90}); s < 1 {
		t.Errorf("two modes: %v", s)
	}
}

func TestRatio(t *testing.T) {
	// The machine slows down to a half from round to round; we take half of what the rival takes all the while.
	near(t, "drift", Ratio([]float64{1, 2, 4}, []float64{2, 4, 8}), 0.5)
	near(t, "a round more on one side", Ratio([]float64{1, 1, 50}, []float64{2, 2}), 0.5)
	if !math.IsNaN(Ratio(nil, []float64{1})) {
		t.Error("a ratio of nothing is a number")
	}
}
