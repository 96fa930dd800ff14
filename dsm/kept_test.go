package dsm_test

import (
	"context"
	"testing"

	"github.com/godsm/godsm/dsmimpl"
	"github.com/godsm/godsm/internal/catalog"
	"github.com/godsm/godsm/internal/testing/instancetest"
)

// full is a backend that swaps, and that refuses to map anything while it is full.
type full struct {
	dsmimpl.Backend
	dsmimpl.Swapper
	is bool
}

func (f *full) Attach(ctx context.Context, o dsmimpl.Object, a dsmimpl.Access) (dsmimpl.Mapping, error) {
	if f.is {
		return dsmimpl.Mapping{}, context.DeadlineExceeded // any error will do
	}
	return f.Backend.Attach(ctx, o, a)
}

// TestCloseGivesBackWhatAViewHasKept: a Segment whose Region could not be mapped by itself keeps its bytes over Detach
// for as long as the view is in use. Close ends that.
func TestCloseGivesBackWhatAViewHasKept(t *testing.T) {
	for _, name := range atEnd() {
		t.Run(name, func(t *testing.T) {
			if !swaps(t, name) {
				t.Skip("skipped: this system can't swap")
			}
			cfg := instancetest.Config(t, name)
			instancetest.Start(t, cfg)
			other := instancetest.Open(t, cfg)
			real, err := catalog.New(name, cfg.Dir+"/mmap")
			if err != nil {
				t.Fatal(err)
			}
			f := &full{Backend: real, Swapper: real.(dsmimpl.Swapper)}
			cfg.Backend = f
			s := instancetest.Open(t, cfg)
			first := create(t, s, 1<<16)
			second := attach(t, s, first.Handle()) // shares the mapping, so a Region wants one of its own
			f.is = true
			r := second.Region()
			f.is = false
			if err := second.Detach(); err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			list, err := other.Sessions(ctx)
			if err != nil || len(list) != 1 {
				t.Errorf("%d sessions after Close: %+v, %v", len(list), list, err)
			}
			if b, err := r.Bytes(0, 1<<16); err == nil {
				b[0] = 1 // reaches no other process
			}
		})
	}
}

// TestAttachThatCannotMap: in checked mode, where each Attach maps for itself, one that is refused gives all back at
// once.
func TestAttachThatCannotMap(t *testing.T) {
	cfg := instancetest.Config(t, catalog.Default(), "checked", "on")
	instancetest.Start(t, cfg)
	other := instancetest.Open(t, cfg)
	real, err := catalog.New(catalog.Default(), "")
	if err != nil {
		t.Fatal(err)
	}
	f := &guarding{full{Backend: real}, real.(dsmimpl.Guarder)}
	cfg.Backend = f
	s := instancetest.Open(t, cfg)
	g := create(t, other, 4096)
	f.is = true
	if _, err := s.Attach(ctx, s.Owner(), g.Handle()); err == nil {
		t.Fatal("attached without a mapping")
	}
	f.is = false
	if i, _ := info(t, other, g.Handle()); i.Refs != 1 {
		t.Errorf("%d references are left", i.Refs)
	}
}

type guarding struct {
	full
	dsmimpl.Guarder
}
