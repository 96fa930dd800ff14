// Package dsmimpltest is the suite that judges every backend, those of other people too: a test of theirs is
//
//	func TestConformance(t *testing.T) {
//		dsmimpltest.Run(t, func(t *testing.T) dsmimpl.Backend { return mine.New() })
//	}
//
// What a backend alone has (limits of a kernel, a directory) is tested beside it.
package dsmimpltest

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/godsm/godsm/dsmimpl"
	"github.com/godsm/godsm/internal/testing/leaktest"
	"github.com/google/uuid"
)

// Run judges the backend that maker makes. A backend that refuses (disabled, or not for this system) must
// refuse everything in the same way.
func Run(t *testing.T, maker func(t *testing.T) dsmimpl.Backend) {
	probe := maker(t)
	if name := probe.Name(); name == "" || len(name) > 15 {
		t.Fatalf("Name() = %q, want 1 to 15 bytes", name)
	}
	_, _, err := probe.Create(context.Background(), dsmimpl.Object{Size: 1, Handle: 1 << 16})
	for _, refusal := range []error{dsmimpl.ErrDisabled, dsmimpl.ErrUnsupported} {
		if errors.Is(err, refusal) {
			t.Run("refusal", func(t *testing.T) { testRefusal(t, probe, refusal) })
			return
		}
	}
	if err == nil {
		_ = probe.Destroy(context.Background(), dsmimpl.Object{Size: 1, Handle: 1 << 16})
	}
	for _, c := range []struct {
		name string
		test func(*bench)
	}{
		{"zero and exact", testZeroAndExact},
		{"shared", testShared},
		{"exclusive", testExclusive},
		{"missing", testMissing},
		{"bad sizes", testBadSizes},
		{"larger than 4 GiB", testLarge},
		{"destroy", testDestroy},
		{"destroy without word", testDestroyWithoutWord},
		{"read only", testReadOnly},
		{"truthful size", testTruthfulSize},
		{"cancelled", testCancelled},
		{"list", testList},
		{"in use", testInUse},
		{"guard", testGuard},
		{"swap", testSwap},
		{"loosen", testLoosen},
		{"part", testPart},
		{"keep", testKeep},
		{"concurrent", testConcurrent},
		{"no residue", testNoResidue},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := &bench{T: t, Backend: maker(t), life: uuid.New(), generation: rand.Uint64N(1 << 40)}
			leaktest.None(t, b.life)
			c.test(b)
		})
	}
}
