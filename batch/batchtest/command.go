// Package batchtest judges drivers of package batch. Run is the suite: it hands random programs of commands in from
// several callers, injects faults, and compares what each caller was told, and what the database holds in the end, with
// a serial execution. Memory is a driver without a database, which has every fault on request; package batch is tested
// over it.
package batchtest

import (
	"errors"
	"fmt"

	"github.com/godsm/godsm/batch"
)

// An Op is what a command does to the row of its key. Rows have a value of 0 or more, may have a second name that no
// two of them share, and may name one of Parents.
type Op int

// The operations, in the order in which a flush executes them where keys leave it open.
const (
	Delete Op = iota // Affected
	Insert           // Affected, ID; fails if the row is there
	Upsert           // Affected
	Update           // Affected
	Add              // Affected, Value: adds to the value, and returns the new one
	Select           // Affected, Value
)

// String returns the operation's name.
func (o Op) String() string {
	return [...]string{"delete", "insert", "upsert", "update", "add", "select"}[o]
}

// Values of Insert with a meaning of their own.
const (
	Refused = 1000013 // a trigger refuses the row
	Skipped = 1000014 // a trigger skips the row: it is not there, and that is no error
	Spoils  = 1000015 // as Refused; where the database can, it rolls back the whole transaction
	Kills   = 1000016 // ends the connection
)

// Parents are the rows that Command.Parent may name. Whether it names one of them is checked as late as the database
// can, at best at commit.
var Parents = []string{"mother", "father"}

// A Command is one of a program. ID is its number, and that of no other command.
type Command struct {
	ID     int
	Op     Op
	Key    string
	Value  int64
	Second string
	Parent string
	Parts  []int // the IDs of commands that were merged into it
	Panics bool  // its rules panic
}

// IDs returns the numbers of the commands that executing it executes.
func (c Command) IDs() []int {
	if c.Parts != nil {
		return c.Parts
	}
	return []int{c.ID}
}

// String returns the command as text.
func (c Command) String() string {
	return fmt.Sprintf("%d: %v %s %d %q %q", c.ID, c.Op, c.Key, c.Value, c.Second, c.Parent)
}

// A Result is what a command returns. The ID is the database's own for the row, and only Insert returns it.
type Result struct {
	Affected int64
	Value    int64
	ID       int64
}

// Rules returns the rules of these commands.
func Rules() batch.Rules[Command, Result, Op, string] {
	return batch.Rules[Command, Result, Op, string]{
		Group: func(c Command) Op { return c.Op },
		Key: func(c Command) (string, bool) {
			if c.Panics {
				panic("as told")
			}
			return c.Key, true
		},
		Rank:  func(o Op) int { return int(o) },
		Read:  func(c Command) bool { return c.Op == Select },
		Merge: merge,
		Split: split,
		Size:  func(c Command) int { return len(c.Key) + len(c.Second) + len(c.Parent) + 8 },
	}
}

// merge merges additions. None of them is negative, so that each of them succeeds if the sum does.
func merge(a, b Command) (Command, bool) {
	if a.Op != Add || a.Value < 0 || b.Value < 0 {
		return a, false
	}
	parts := append(append([]int(nil), a.IDs()...), b.IDs()...)
	return Command{ID: a.ID, Op: Add, Key: a.Key, Value: a.Value + b.Value, Parts: parts}, true
}

// split takes the sum apart, from the last command to the first, and reports whether the answer can be right: what is left
// for the time before the first command is not below 0.
func split(answer Result, cmds []Command, results []Result) bool {
	value := answer.Value
	for i := len(cmds) - 1; i >= 0; i-- {
		if answer.Affected > 0 {
			results[i] = Result{Affected: 1, Value: value}
			value -= cmds[i].Value
		}
	}
	return answer.Affected == 0 || value >= 0
}

// A Row is what the database holds for a key.
type Row struct {
	ID     int64
	Value  int64
	Second string
}

// A Model is the database as the commands define it, executed one at a time.
type Model map[string]Row

var errModel = errors.New("refused")

// Do executes a command. It returns what Result must be but for the ID.
func (m Model) Do(c Command) (Result, error) {
	row, there := m[c.Key]
	switch c.Op {
	case Insert:
		if c.Value == Skipped {
			return Result{}, nil
		}
		if there || c.Value < 0 || c.Value == Refused || c.Value == Spoils || c.Value == Kills ||
			c.Parent != "" && c.Parent != Parents[0] && c.Parent != Parents[1] {
			return Result{}, errModel
		}
		if c.Second != "" {
			for _, other := range m {
				if other.Second == c.Second {
					return Result{}, errModel
				}
			}
		}
		m[c.Key] = Row{Value: c.Value, Second: c.Second}
		return Result{Affected: 1}, nil
	case Upsert:
		if c.Value < 0 {
			return Result{}, errModel
		}
		row.Value = c.Value
		m[c.Key] = row
		return Result{Affected: 1}, nil
	}
	if !there {
		return Result{}, nil
	}
	switch c.Op {
	case Update:
		if c.Value < 0 {
			return Result{}, errModel
		}
		row.Value = c.Value
		m[c.Key] = row
		return Result{Affected: 1}, nil
	case Delete:
		delete(m, c.Key)
		return Result{Affected: 1}, nil
	case Add:
		if row.Value+c.Value < 0 {
			return Result{}, errModel
		}
		row.Value += c.Value
		m[c.Key] = row
	}
	return Result{Affected: 1, Value: row.Value}, nil
}
