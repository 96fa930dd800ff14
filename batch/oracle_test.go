package batch_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/godsm/godsm/batch/batchtest"
)

var programs = flag.Int("programs", 300, "how many random programs the oracle judges")

// TestRandomProgramsEqualSerialExecution plays random programs over a memory with the ways of several databases.
func TestRandomProgramsEqualSerialExecution(t *testing.T) {
	for seed := range uint64(*programs) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(seed, 8))
			ways := batchtest.Ways{Seed: seed, ByRow: r.IntN(3) == 0, Gone: r.IntN(4) == 0, AtCommit: r.IntN(3) == 0}
			batchtest.Judge(t, seed, batchtest.OfMemory(ways), ways)
		})
	}
}

// TestSuiteOverMemory runs the suite of drivers over the driver without a database, in each of its ways.
func TestSuiteOverMemory(t *testing.T) {
	for name, ways := range map[string]batchtest.Ways{
		"as it is":        {},
		"row by row":      {ByRow: true},
		"late parents":    {AtCommit: true},
		"own rollbacks":   {Gone: true},
		"all of the kind": {ByRow: true, Gone: true, AtCommit: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			batchtest.Run(t, 0, func(*testing.T) batchtest.Database { return batchtest.OfMemory(ways) })
		})
	}
}
