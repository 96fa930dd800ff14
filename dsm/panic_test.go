package dsm_test

import (
	"context"
	"strings"
	"testing"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/dsmimpl"
	"github.com/godsm/godsm/internal/catalog"
	"github.com/godsm/godsm/internal/testing/instancetest"
)

// faulty is a backend that panics once in one of its methods.
type faulty struct {
	dsmimpl.Backend
	in string
}

func (f *faulty) fail(in string) {
	if f.in == in {
		f.in = ""
		panic("a fault of its own")
	}
}

func (f *faulty) Create(ctx context.Context, o dsmimpl.Object) (dsmimpl.Mapping, uint64, error) {
	f.fail("Create")
	return f.Backend.Create(ctx, o)
}

func (f *faulty) Attach(ctx context.Context, o dsmimpl.Object, a dsmimpl.Access) (dsmimpl.Mapping, error) {
	f.fail("Attach")
	return f.Backend.Attach(ctx, o, a)
}

func (f *faulty) Detach(m dsmimpl.Mapping) error {
	err := f.Backend.Detach(m)
	f.fail("Detach")
	return err
}

func (f *faulty) Destroy(ctx context.Context, o dsmimpl.Object) error {
	f.fail("Destroy")
	return f.Backend.Destroy(ctx, o)
}

// TestBackendPanics: that is an error of the call, which keeps no session from closing, and nothing is left.
func TestBackendPanics(t *testing.T) {
	for _, checked := range []string{"off", "on"} {
		for _, in := range []string{"Create", "Attach", "Detach", "Destroy"} {
			t.Run(in+"/checked="+checked, func(t *testing.T) {
				backend, err := catalog.New(catalog.Default(), "")
				if err != nil {
					t.Fatal(err)
				}
				cfg := instancetest.Config(t, backend.Name(), "checked", checked)
				instancetest.Start(t, cfg)
				other := create(t, instancetest.Open(t, cfg), 100)
				f := &faulty{Backend: backend}
				cfg.Backend = f
				s, err := dsm.Open(ctx, cfg)
				if err != nil {
					t.Fatal(err)
				}
				f.in = in
				g, err := s.Create(ctx, s.Owner(), 100)
				if err == nil {
					_, err = s.Attach(ctx, s.Owner(), other.Handle())
					if derr := g.Detach(); err == nil {
						err = derr
					}
				}
				// That an object could not be removed is logged, and is tried again.
				is := err != nil && strings.Contains(err.Error(), in+" panicked: a fault of its own")
				if is != (in != "Destroy") || f.in != "" {
					t.Errorf("a panic in %s is %v", in, err)
				}
				if _, err := s.Create(ctx, s.Owner(), 100); err != nil {
					t.Error(err)
				}
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			})
		}
	}
}
