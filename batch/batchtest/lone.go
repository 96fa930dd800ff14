package batchtest

import (
	"errors"
	"testing"

	"github.com/godsm/godsm/batch"
)

// noResult loses results with the answers to their commits: the caller of a lone command is told that, and that it was
// executed; a flush of several has its results before, and is answered.
func noResult(t *testing.T, db Database) {
	e := newEngine(t, WithFaults(db.Driver, Faults{LostYes: 1, NoResult: 1}), batch.Options{Budget: patient.Budget})
	tx, err := db.Driver.Begin(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	_, finishes := tx.(batch.Finisher[Command, Result])
	tx.Rollback(t.Context())
	cmds := inserts(1, 10)
	for _, c := range cmds[:5] {
		r, err := e.Do(t.Context(), c)
		switch {
		case !finishes && err != nil, finishes && (batch.ExecutedOf(err) != batch.Yes || !errors.Is(err, batch.ErrNoResult)):
			t.Fatalf("%v ended with %v, executed: %v", c, err, batch.ExecutedOf(err))
		case finishes && r != (Result{}):
			t.Fatalf("%v has the result %+v, and an error", c, r)
		}
	}
	results, errs := inOneFlush(t, e, cmds[5:])
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	expect(t, db, cmds[5:], results, errs)
	executed, rows, err := db.State()
	if err != nil || len(executed) != len(cmds) || len(rows) != len(cmds) {
		t.Errorf("%d commands were executed, %d rows are there, %v", len(executed), len(rows), err)
	}
}

// loneCommands counts the round trips of commands that are alone: good ones, refused ones, and reads.
func loneCommands(t *testing.T, db Database) {
	if db.Trips == nil {
		t.Skip("skipped: round trips to this database are not counted")
	}
	e := newEngine(t, db.Driver, batch.Options{})
	refuse := inserts(100, 1)[0]
	refuse.Value = Refused
	for _, c := range []Command{inserts(1, 1)[0], refuse, {ID: 2, Op: Select, Key: "k1"}} { // what is prepared once
		_, _ = e.Do(t.Context(), c)
	}
	for _, test := range []struct {
		name   string
		c      Command
		refuse bool
	}{
		{"insert", inserts(3, 1)[0], false},
		{"read", Command{ID: 4, Op: Select, Key: "k3"}, false},
		{"refused", refuse, true},
	} {
		before := db.Trips()
		r, err := e.Do(t.Context(), test.c)
		if (err != nil) != test.refuse || !test.refuse && r.Affected != 1 {
			t.Errorf("%s: %+v, %v", test.name, r, err)
		}
		if n := db.Trips() - before; n != 1 {
			t.Errorf("%s: %d round trips", test.name, n)
		}
	}
}
