package area_test

import (
	"testing"

	"github.com/godsm/godsm/area"
	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/catalog"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/internal/testing/proctest"
	"github.com/godsm/godsm/shm/dsa"
)

func init() {
	proctest.Register("grower", func(c *proctest.Child) error {
		s, a, err := inArea(c)
		if err != nil {
			return err
		}
		defer s.Close()
		if _, err := a.Alloc(1 << 20); err != nil {
			return err
		}
		c.Say("ready")
		c.Hear()
		return nil
	})
}

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

// TestLastOneCloses: so it does if those are dead who made segments that it has never mapped.
func TestLastOneCloses(t *testing.T) {
	cfg := instancetest.Config(t, catalog.Default())
	instancetest.Start(t, cfg)
	s := instancetest.Open(t, cfg)
	a, err := area.Create(ctx, s, s.Owner(), dsa.Options{Initial: 1 << 17, Keep: -1})
	if err != nil {
		t.Fatal(err)
	}
	p := proctest.Start(t, "grower", cfg.Dir, area.Handle(a).String())
	p.Expect("ready")
	p.Kill()
	instancetest.Eventually(t, "the dead one is reclaimed", func() bool {
		r, err := dsm.Inspect(ctx, cfg)
		return err == nil && len(r.Sessions) == 1
	})
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	noneLeft(t, cfg)
}
