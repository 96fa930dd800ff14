package batchtest

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/godsm/godsm/batch"
)

// A Database is an empty one with a driver, for one test.
type Database struct {
	Driver batch.Driver[Command, Result]
	// State returns the numbers of the commands in the order in which they were executed, but for Select, and the rows.
	State func() ([]int, map[string]Row, error)
	// Exec executes a command with what the driver hands to interactions.
	Exec func(ctx context.Context, tx any, c Command) (Result, error)
	// Trips returns how many round trips the driver has made; nil: they are not counted.
	Trips func() int
	// Kill ends all connections; nil: there is no way.
	Kill func() error
	// CanKill reports whether a row with the value Kills ends its connection.
	CanKill bool
}

// Run judges a driver. open returns an empty database, and cleans up by t.Cleanup. programs is how many random programs
// it plays, as many of them at a time as go test -parallel says.
func Run(t *testing.T, programs int, open func(t *testing.T) Database) {
	for _, test := range []struct {
		name string
		run  func(t *testing.T, db Database)
	}{
		{"BadRowsAmongAThousandFailAlone", badRows},
		{"CommitWithoutAnswerIsSettled", lostCommits},
		{"UnsettledCommitIsMaybe", unsettled},
		{"AResultThatIsLostWithItsCommitIsYes", noResult},
		{"ALoneCommandIsOneRoundTrip", loneCommands},
		{"InteractionsAndTheirUndoMatchTheRows", interactions},
		{"AContextWithdrawsItsCommandAlone", withdraw},
		{"CloseDrains", closeDrains},
		{"AHotKeyIsMerged", hotKey},
		{"BytesAreSplit", bytes},
		{"OnlyWhatIsWrittenIsTold", writtenOnly},
		{"WhatIsWrittenIsToldBeforeTheAnswer", written},
		{"KilledConnectionsAreNotNoticed", kills},
		{"ARowThatKillsItsConnectionIsPoison", poison},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, open(t)) })
	}
	t.Run("RandomProgramsEqualSerialExecution", func(t *testing.T) {
		for seed := range uint64(programs) {
			t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
				t.Parallel()
				Judge(t, seed, open(t), Ways{})
			})
		}
	})
}

// Judge plays one random program over a database, with faults, and checks what its callers were told.
func Judge(t *testing.T, seed uint64, db Database, ways Ways) {
	r := rand.New(rand.NewPCG(seed, 7))
	some := func(p float64) float64 { return p * float64(r.IntN(2)) }
	faults := Faults{
		Seed:     seed,
		Begin:    some(0.1),
		Deadlock: some(0.05),
		Lost:     some(0.05),
		Busy:     some(0.1),
		LostYes:  some(0.1),
		LostNo:   some(0.1),
		Settle:   0.3,
	}
	program := Program{
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
	if kills := some(0.01); db.CanKill && faults.Lost+faults.LostNo+faults.LostYes == 0 {
		program.Kills = kills // otherwise what is lost by chance looks like poison
	}
	options := batch.Options{
		MaxRows:  []int{0, 1, 3, 20}[r.IntN(4)],
		MaxBytes: []int{0, 1, 100}[r.IntN(3)],
		Queue:    []int{0, 1, 5}[r.IntN(3)],
		Cache:    []int{0, 2, 100}[r.IntN(3)],
	}
	engine := batch.New(WithFaults(db.Driver, faults), Rules(), options)
	history := &History{}
	program.Play(engine, history, 1)
	if err := engine.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	executed, rows, err := db.State()
	if err == nil {
		err = history.Check(executed, rows)
	}
	if err != nil {
		t.Fatalf("%v\n%+v\n%+v\n%+v\n%+v", err, ways, faults, program, options)
	}
}

var quiet = slog.New(slog.DiscardHandler)

// patient are options under which an interaction may hold the worker up.
var patient = batch.Options{Budget: time.Hour}

func newEngine(t *testing.T, d batch.Driver[Command, Result], o batch.Options) *batch.Engine[Command, Result] {
	e := batch.New(d, Rules(), o)
	t.Cleanup(func() {
		if err := e.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return e
}

// inserts returns commands that insert n rows.
func inserts(first, n int) []Command {
	cmds := make([]Command, n)
	for i := range cmds {
		cmds[i] = Command{ID: first + i, Op: Insert, Key: fmt.Sprint("k", first+i), Value: int64(i)}
	}
	return cmds
}

// expect checks that the database holds exactly what the commands without an error have inserted.
func expect(t *testing.T, db Database, cmds []Command, results []Result, errs []error) {
	t.Helper()
	executed, rows, err := db.State()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[int]int{}
	for _, id := range executed {
		seen[id]++
	}
	ids := map[int64]bool{}
	for i, c := range cmds {
		row, there := rows[c.Key]
		switch {
		case errs[i] == nil && (!there || row.Value != c.Value || row.ID != results[i].ID || seen[c.ID] != 1):
			t.Fatalf("%v returned %+v; its row is %+v (%v), and it was executed %d times", c, results[i], row, there, seen[c.ID])
		case errs[i] != nil && (there || seen[c.ID] != 0):
			t.Fatalf("%v failed with %v; its row is %+v (%v), and it was executed %d times", c, errs[i], row, there, seen[c.ID])
		case errs[i] == nil && ids[row.ID]:
			t.Fatalf("the id %d was told twice", row.ID)
		}
		ids[row.ID] = errs[i] == nil
	}
}

// OfMemory returns a database that is a Memory.
func OfMemory(ways Ways) Database {
	m := NewMemory(ways)
	return Database{
		Driver: m,
		State: func() ([]int, map[string]Row, error) {
			executed, rows := m.State()
			return executed, maps.Clone(rows), nil
		},
		Exec:    func(_ context.Context, tx any, c Command) (Result, error) { return tx.(Execer)(c) },
		Trips:   m.Trips,
		CanKill: true,
	}
}
