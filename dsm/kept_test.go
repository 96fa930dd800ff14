package dsm_test

import (
	"context"
	"testing"

	"github.com/godsm/godsm/dsmimpl"
	"github.com/godsm/godsm/dsmimpl/catalog"
	"github.com/godsm/godsm/internal/instancetest"
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

// TestCloseGivesBackWhatAViewHasKept: a Segment whose Region could not be mapped by itself keeps its bytes over Detach for as
// long as the view is in use. Close ends that.
func TestCloseGivesBackWhatAViewHasKept(t *testing.T) {
	for _, name := range swapping() {
		t.Run(name, func(t *testing.T) {
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
