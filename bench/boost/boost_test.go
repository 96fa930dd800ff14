package boost

import (
	"strings"
	"testing"
	"time"

	"github.com/godsm/godsm/bench/side"
)

// TestEveryKind measures each kind of work once, for a moment.
func TestEveryKind(t *testing.T) {
	p := New(t.TempDir())
	if _, err := p.Open(t.Context(), "nonsense", side.Alone, time.Millisecond); p.missing != nil {
		t.Skip("skipped:", p.missing)
	} else if err == nil || !strings.Contains(err.Error(), "nonsense") {
		t.Errorf("a kind that is not there: %v", err)
	}
	if v := p.Version(); !strings.HasPrefix(v, "Boost 1.") {
		t.Errorf("version %q", v)
	}
	for _, c := range []struct {
		kind    string
		args    []int
		numbers int
	}{
		{"create", []int{4096}, 1},
		{"attach", []int{4096}, 1},
		{"alloc pair", []int{64}, 1},
		{"alloc batch", []int{1024}, 1},
		{"alloc mixed", nil, 1},
		{"lock exclusive", nil, 1},
		{"lock shared", nil, 1},
		{"mq one way", []int{64, 65536}, 1},
		{"mq round trip", []int{8, 65536}, 2},
	} {
		t.Run(c.kind, func(t *testing.T) {
			s, err := p.Open(t.Context(), c.kind, side.Same, 100*time.Microsecond, c.args...)
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if numbers, err := s.Round(t.Context()); err != nil || len(numbers) != c.numbers || numbers[0] <= 0 {
					t.Errorf("%v, %v", numbers, err)
				}
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}
