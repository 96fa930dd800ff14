package python

import (
	"testing"
	"time"

	"github.com/godsm/godsm/bench/side"
)

// TestEveryKind measures each kind of work once, for a moment.
func TestEveryKind(t *testing.T) {
	var s Script
	for _, kind := range []string{"create", "attach"} {
		p, err := s.Open(t.Context(), kind, side.Alone, time.Millisecond, 4096)
		if s.missing != nil {
			t.Skip("skipped:", s.missing)
		}
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if numbers, err := p.Round(t.Context()); err != nil || len(numbers) != 1 || numbers[0] <= 0 {
				t.Errorf("%s: %v, %v", kind, numbers, err)
			}
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
}
