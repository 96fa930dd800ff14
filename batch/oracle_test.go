package batch_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/godsm/godsm/batch"
	"github.com/godsm/godsm/batch/batchtest"
)

var programs = flag.Int("programs", 300, "how many random programs the oracle judges")

// TestRandomProgramsEqualSerialExecution plays random programs over a driver with faults.
func TestRandomProgramsEqualSerialExecution(t *testing.T) {
	for seed := range uint64(*programs) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			t.Parallel()
			play(t, seed)
		})
	}
}

func play(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 7))
	some := func(p float64) float64 { return p * float64(r.IntN(2)) }
	faults := batchtest.Faults{
		Seed:     seed,
		Begin:    some(0.1),
		Deadlock: some(0.05),
		Lost:     some(0.05),
		Busy:     some(0.1),
		LostYes:  some(0.1),
		LostNo:   some(0.1),
		Settle:   0.3,
		ByRow:    r.IntN(3) == 0,
		Gone:     r.IntN(4) == 0,
		AtCommit: r.IntN(3) == 0,
	}
	program := batchtest.Program{
		Seed:     seed,
		Callers:  1 + r.IntN(8),
		Commands: 1 + r.IntN(24),
		Keys:     1 + r.IntN(6),
		Bad:      some(0.1),
		Spoils:   some(0.02),
		Panics:   some(0.02),
		Leave:    some(0.1),
		Get:      r.IntN(2) == 0,
	}
	if faults.Lost+faults.LostNo+faults.LostYes == 0 { // otherwise what is lost by chance looks like poison
		program.Kills = some(0.01)
	}
	options := batch.Options{
		MaxRows:  []int{0, 1, 3, 20}[r.IntN(4)],
		MaxBytes: []int{0, 1, 100}[r.IntN(3)],
		Queue:    []int{0, 1, 5}[r.IntN(3)],
		Cache:    []int{0, 2, 100}[r.IntN(3)],
	}
	memory := batchtest.NewMemory(faults)
	engine := batch.New(memory, batchtest.Rules(), options)
	history := &batchtest.History{}
	program.Play(engine, history, 1)
	if err := engine.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	executed, rows := memory.State()
	if err := history.Check(executed, rows); err != nil {
		t.Fatalf("%v\n%+v\n%+v\n%+v", err, faults, program, options)
	}
}
