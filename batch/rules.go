package batch

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
