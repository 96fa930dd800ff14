package batch

import (
	"log/slog"
	"time"
)

// Rules say how commands become statements. Each function must depend on its arguments alone; it is called from
// several goroutines. A panic in one of them is the error of the command that it was called for.
type Rules[Cmd, Res any, Group, Key comparable] struct {
	// Group names the kind of statement: commands of equal groups may be one statement. nil: all are of one group.
	Group func(Cmd) Group

	// Key names what a command touches. Commands of equal keys keep the order in which they were handed in, and are
	// never in one statement, whatever their groups are; commands of different keys may pass each other. A command
	// without a key passes none and is passed by none. nil: no command has a key.
	Key func(Cmd) (Key, bool)

	// Rank orders the statements of a flush where keys leave the order open: lower ranks go first. With the ranks of
	// delete, insert, update in this order most programs need three statements. nil: by first appearance.
	Rank func(Group) int

	// Compare orders the commands of a statement, so that two writers lock rows in one order. nil: as handed in.
	Compare func(a, b Cmd) int

	// Read reports whether a command changes nothing. Reads of equal groups and keys that follow one another share
	// one answer, and [Engine.Get] keeps it. nil: no command is a read.
	Read func(Cmd) bool

	// Merge returns one command that does what a and then b do, where a caller's serial result follows from the
	// merged answer alone, as for a counter. It is asked for commands of one group and key that follow one another;
	// a may be merged already. nil: never.
	Merge func(a, b Cmd) (Cmd, bool)

	// Split stores in results what each of cmds, executed one after the other, would have returned, where answer is
	// that of all of them merged. It returns false if the answer is not one that Merge counted on; then the merged
	// command is undone and cmds are executed one by one.
	Split func(answer Res, cmds []Cmd, results []Res) bool

	// Written is called with the commands of a transaction that has been committed, or may have been, before any caller
	// of them is answered: for a memory of what the database says, from which the program drops what they have changed.
	// Reads, commands that have failed and interactions are not among them. A command may be told twice. It must not call the
	// engine, and the slice is valid until it returns. Its panic is logged. nil: nothing is told.
	Written func(cmds []Cmd)

	// Size returns the bytes that a command takes on its way to the database, for Options.MaxBytes. nil: 0.
	Size func(Cmd) int
}

// Full says what happens to a command that is handed in while the queue is full.
type Full int

const (
	Block Full = iota // it waits for room
	Fail              // it is refused with ErrFull
)

// Options are settings of an engine. The zero value works.
type Options struct {
	MaxRows  int           // commands in a flush; 0: 5,000
	MaxBytes int           // bytes in a flush, as Rules.Size counts them; 0: 8 MB. A larger command goes alone
	Queue    int           // commands that wait; 0: 4,096
	Full     Full          // what happens when the queue is full
	Linger   time.Duration // how long the first command waits for others; 0, the default, is best for callers that wait
	Budget   time.Duration // time of an interaction inside a shared transaction; 0: 100 ms
	Cache    int           // answers that Get keeps; 0: none
	Logger   *slog.Logger  // takes the progress of a Close that lasts longer than a second; nil: slog.Default()
}

func (o Options) withDefaults() Options {
	o.MaxRows = positive(o.MaxRows, 5000)
	o.MaxBytes = positive(o.MaxBytes, 8<<20)
	o.Queue = positive(o.Queue, 4096)
	o.Budget = positive(o.Budget, 100*time.Millisecond)
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o
}

// positive returns v, or the default if v is not positive.
func positive[T int | time.Duration](v, byDefault T) T {
	if v > 0 {
		return v
	}
	return byDefault
}
