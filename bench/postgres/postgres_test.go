package postgres

import (
	"os"
	"testing"
	"time"

	"github.com/godsm/godsm/bench/side"
)

// TestEveryKind measures each kind of work once, for a moment.
func TestEveryKind(t *testing.T) {
	dir, err := os.MkdirTemp("", "godsm-bench-test") // t.TempDir's parents are closed to the user that servers run as
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	s := New(dir)
	defer func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
		if left, _ := os.ReadDir(dir); len(left) != 0 {
			t.Errorf("left behind: %v", left)
		}
	}()
	if _, err := s.cluster(t.Context(), Posix); s.missing != nil {
		t.Skip("skipped:", err)
	}
	for _, c := range []struct {
		kind    string
		pin     side.Pin
		args    []int
		numbers int
	}{
		{"create", side.Alone, []int{4096}, 1},
		{"attach", side.Alone, []int{4096}, 1},
		{"create live", side.Alone, []int{4096, 5}, 1},
		{"attach live", side.Alone, []int{4096, 5}, 1},
		{"create held", side.Alone, []int{4096, 5}, 1},
		{"alloc pair", side.Alone, []int{64}, 1},
		{"alloc batch", side.Alone, []int{8192}, 1},
		{"alloc mixed", side.Alone, nil, 1},
		{"alloc overhead", side.Alone, []int{4}, 1},
		{"lock exclusive", side.Alone, nil, 1},
		{"lock shared", side.Alone, nil, 1},
		{"hash get", side.Alone, []int{100, 200}, 1},
		{"hash delete+insert", side.Alone, []int{100, 8}, 1},
		{"mq one way", side.Free, []int{64, 65536}, 1},
		{"mq round trip", side.Same, []int{8, 65536}, 2},
		{"two lock exclusive", side.Free, nil, 1},
		{"two lock shared", side.Free, nil, 1},
		{"two alloc pair", side.Free, []int{64}, 1},
		{"start worker", side.Alone, nil, 1},
		{"two hash get", side.Free, []int{100, 8}, 1},
	} {
		t.Run(c.kind, func(t *testing.T) {
			p, err := s.Open(t.Context(), Posix, c.kind, c.pin, time.Millisecond, c.args...)
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				numbers, err := p.Round(t.Context())
				if err != nil || len(numbers) != c.numbers || numbers[0] <= 0 {
					t.Errorf("%v, %v", numbers, err)
				}
			}
			if err := p.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	if took, err := s.Crashes(t.Context(), Posix, 2); err != nil || len(took) != 2 || took[0] <= 0 {
		t.Errorf("crashes: %v, %v", took, err)
	}
	if _, err := s.Open(t.Context(), Posix, "nonsense", side.Alone, time.Millisecond); err == nil {
		t.Error("a kind that is not there is opened")
	}
}
