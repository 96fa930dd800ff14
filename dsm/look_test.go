package dsm_test

import (
	"bytes"
	"context"
	"errors"
	"runtime"
	"testing"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/catalog"
	"github.com/godsm/godsm/internal/testing/instancetest"
)

// TestLook reads the bytes of a segment of another session's, without joining.
func TestLook(t *testing.T) {
	instancetest.Each(t, func(t *testing.T, backend string) {
		cfg := instancetest.Config(t, backend)
		instancetest.Start(t, cfg)
		s := instancetest.Open(t, cfg)
		g, err := s.Create(context.Background(), s.Owner(), 1000)
		if err != nil {
			t.Fatal(err)
		}
		copy(g.Bytes(), "hello")
		err = dsm.Look(context.Background(), cfg, func(r dsm.Report, read func(dsm.Handle) ([]byte, error)) error {
			b, err := read(g.Handle())
			if err != nil || !bytes.HasPrefix(b, []byte("hello")) || len(b) < 1000 || r.Status.Sessions != 1 {
				t.Errorf("%q, %v, %+v", b[:min(5, len(b))], err, r.Status)
			}
			if _, err := read(g.Handle() + 1<<20); !errors.Is(err, dsm.ErrNotFound) {
				t.Error(err)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
}

// TestLookEndsInEveryWay: whatever becomes of the function, nothing of the look is left.
func TestLookEndsInEveryWay(t *testing.T) {
	cfg := instancetest.Config(t, catalog.Default())
	instancetest.Start(t, cfg)
	s := instancetest.Open(t, cfg)
	g, err := s.Create(context.Background(), s.Owner(), 1000)
	if err != nil {
		t.Fatal(err)
	}
	out := errors.New("the function failed")
	for name, way := range map[string]func() error{
		"return": func() error { return nil }, "fail": func() error { return out },
		"panic": func() error { panic(out) }, "goexit": func() error { runtime.Goexit(); return nil },
	} {
		done := make(chan any, 1)
		go func() {
			defer func() { done <- recover() }()
			err := dsm.Look(context.Background(), cfg, func(_ dsm.Report, read func(dsm.Handle) ([]byte, error)) error {
				if _, err := read(g.Handle()); err != nil {
					t.Error(err)
				}
				return way()
			})
			if name == "fail" != errors.Is(err, out) {
				t.Errorf("%s: %v", name, err)
			}
		}()
		if r := <-done; r != nil && r != any(out) {
			t.Errorf("%s: %v", name, r)
		}
	}
	if err := g.Detach(); err != nil {
		t.Error(err)
	}
}
