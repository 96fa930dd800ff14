package area_test

import (
	"testing"

	"github.com/godsm/godsm/area"
	"github.com/godsm/godsm/internal/instancetest"
	"github.com/godsm/godsm/shm/dsa"
)

// TestSessionCloses: the last session to leave an area removes it, also if all that it does is to close.
func TestSessionCloses(t *testing.T) {
	instancetest.Each(t, func(t *testing.T, backend string) {
		cfg := instancetest.Config(t, backend)
		instancetest.Start(t, cfg)
		s, other := instancetest.Open(t, cfg), instancetest.Open(t, cfg)
		a, err := area.Create(ctx, s, s.Owner(), dsa.Options{Initial: 1 << 17, Keep: -1})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := area.Attach(ctx, other, other.Owner(), area.Handle(a)); err != nil {
			t.Fatal(err)
		}
		if _, err := a.Alloc(1 << 20); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if n := instancetest.Objects(t, cfg.Dir); n != 2 {
			t.Errorf("%d segments while somebody has them", n)
		}
		if err := other.Close(); err != nil {
			t.Error(err)
		}
		noneLeft(t, cfg)
	})
}
