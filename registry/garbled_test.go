package registry_test

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/godsm/godsm/internal/catalog"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/registry"
	"github.com/godsm/godsm/shm/dsa"
)

// TestGarbled: whatever a neighbour writes into the table, calls end, without a panic or a fault,
// and when it is whole again so are the names.
func TestGarbled(t *testing.T) {
	cfg := instancetest.Config(t, catalog.Default())
	instancetest.Start(t, cfg)
	s := instancetest.Open(t, cfg)
	if _, err := registry.Segment[counter](ctx, s, "x", initOnce); err != nil {
		t.Fatal(err)
	}
	if _, err := registry.Area(ctx, s, "a", small); err != nil {
		t.Fatal(err)
	}
	root, err := s.Root(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	b := root.Bytes()
	whole := slices.Clone(b)
	rnd := rand.New(rand.NewPCG(5, 6))
	words := 320/8 + 100 + 28*3 // the header, the rows' words, three records
	for i := range 400 {
		for range 1 + rnd.IntN(3) {
			k := rnd.IntN(words) * 8
			v := rnd.Uint64()
			if i%2 == 0 { // one bit of what is there
				v = binary.NativeEndian.Uint64(b[k:]) ^ 1<<rnd.IntN(64)
			}
			binary.NativeEndian.PutUint64(b[k:], v)
		}
		short, cancel := context.WithTimeout(ctx, 5*time.Millisecond)
		s := instancetest.Open(t, cfg)
		owner, err := s.Owner().Child("turn")
		if err != nil {
			t.Fatal(err)
		}
		o := registry.Options{Owner: owner}
		_, _ = registry.Segment(short, s, "x", initOnce, o)
		_, _ = registry.Area(short, s, "a", small, o)
		_, _ = registry.Segment[int64](short, s, "y", nil, o)
		_, _ = registry.List(short, s)
		_ = registry.Delete(short, s, "y")
		cancel()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		copy(b, whole)
	}
	for _, name := range []string{"x", "a"} {
		_ = registry.Delete(ctx, s, name) // what it stood for may be gone
	}
	if _, err := registry.Segment(ctx, s, "x", initOnce); err != nil {
		t.Error(err)
	}
	if a, err := registry.Area(ctx, s, "a", dsa.Options{}); err != nil {
		t.Error(err)
	} else if rep, err := a.Verify(ctx); err != nil || len(rep.Problems) > 0 {
		t.Errorf("%+v, %v", rep, err)
	}
}
