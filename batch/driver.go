package batch

import "context"

// A Driver executes the flushes of one [Engine] on one connection, which it opens when it needs one and opens anew
// after it was lost. The engine calls it from one goroutine at a time. The context of a call is the engine's own: it ends when
// Close gives up, and never because a caller's context has ended.
type Driver[Cmd, Res any] interface {
	// Begin begins a transaction. Where flush is not 0, the transaction also stores that number where Settle finds it:
	// in a row of the same transaction. Where it is 0 the transaction only reads. Begin may put off the work to the
	// first call that needs a round trip, and then report its errors there.
	Begin(ctx context.Context, flush uint64) (Tx[Cmd, Res], error)

	// Settle reports whether the transaction with that number was committed, after Commit has failed with an error
	// of class Lost. It answers only when the answer is final: it waits for a transaction that is still in progress
	// on the old connection, or ends it. An error that is ErrUnsettled means that it can't be known.
	Settle(ctx context.Context, flush uint64) (committed bool, err error)

	// Class reports what an error means for a flush.
	Class(err error) Class

	// Close ends the connection. The engine calls it once, last.
	Close(ctx context.Context) error
}

// A Fenced is a driver that can be one of several, in as many processes, that take turns under one name: only the one that
// led last can commit. Package batch/shared needs it.
type Fenced interface {
	// Lead makes the driver, before its first transaction, the one with that number under that name. Numbers of one name
	// go up with each call, whichever driver makes it. When Lead has returned, no transaction of a driver with a lower
	// number is committed any more: Begin, Run or Commit of these fail with ErrDeposed. Lead waits for a transaction that
	// is still in progress, or ends it: old is what Backend has last said in the process that led before.
	//
	// by and flush are the number of the driver that has last committed a transaction, and the number that it stored in it.
	Lead(ctx context.Context, name string, number uint64, old string) (by, flush uint64, err error)

	// Backend returns what another process needs to end the transaction under way, as text of at most 120 bytes; "" if that
	// can't be done. It changes with the connection.
	Backend() string
}

// A Tx is a transaction of a [Driver].
type Tx[Cmd, Res any] interface {
	// Run executes steps, one statement each, in their order and in as few round trips as the database allows. It
	// stops at the first statement that fails, and returns which commands were in it: those from lo up to hi, counted
	// through all steps of the call. With guard, all that the call has done is undone before Run returns an error,
	// and what the transaction did before stays; without, the transaction may be unusable after an error.
	//
	// Run checks whatever the database would otherwise check at commit, as far as the database lets it.
	//
	// A driver whose statements take one command each may store the error of a single command, if its class is Row,
	// in Step.Errs, and go on.
	Run(ctx context.Context, steps []Step[Cmd, Res], guard bool) (lo, hi int, err error)

	// Interact calls do with the driver's own type of a transaction. If do returns an error, all that it has done in
	// the database is undone, and what the transaction did before stays.
	Interact(ctx context.Context, do func(ctx context.Context, tx any) error) error

	// Alive reports whether the transaction still stands. It asks the database where only that knows.
	Alive() bool

	// Commit commits. After an error of class Lost it is not known whether the transaction was committed.
	Commit(ctx context.Context) error

	// Rollback ends a transaction that is not committed. It does not fail: a connection that can't roll back is closed.
	Rollback(ctx context.Context)
}

// A Finisher is a [Tx] that can execute all of a transaction and commit it in one round trip. The engine uses it where the
// transaction is one command, or only reads.
type Finisher[Cmd, Res any] interface {
	// Finish is Run without guard, and then Commit; nothing has been executed in the transaction before. An error of
	// Run's comes with its lo and hi. ran reports whether all results are stored, so that an error is one of Commit.
	//
	// After an error of class Lost it is not known whether the transaction was committed, whatever ran is: the driver
	// lets the database send the results before it commits, if it can. A transaction that was committed, though its
	// results can't be read, is an [Error] that says Yes.
	Finish(ctx context.Context, steps []Step[Cmd, Res]) (lo, hi int, ran bool, err error)
}

// A Step is one statement: commands of one group, no two of one key. Run stores the result of Cmds[i] in Res[i].
// The slices are the engine's, and valid until Run returns.
type Step[Cmd, Res any] struct {
	Cmds []Cmd
	Res  []Res
	Errs []error
}

// A Class says what an error means for a flush.
type Class int

const (
	// Row is the error of one command: the database refuses it, and would refuse it alone. It is found by bisection
	// and told to its caller. It is also the class of whatever a driver does not know.
	Row Class = iota + 1
	// Batch is an error that the statement had because of its size or of what was together in it. It is bisected,
	// too; a command that has it alone has failed.
	Batch
	// Transient is an error that goes away: a deadlock, a lock that is held, a database that is just starting. The
	// flush is tried again until it succeeds or its callers have left.
	Transient
	// Lost is the end of the connection. What was not committed is tried again on another one; a commit without an
	// answer is settled first.
	Lost
	// Fatal is an error that no other try would mend: the database refuses this user, or its disk is full. All
	// commands of the flush fail with it.
	Fatal
)

// String returns the class's name.
func (c Class) String() string {
	switch c {
	case Row:
		return "row"
	case Batch:
		return "batch"
	case Transient:
		return "transient"
	case Lost:
		return "lost"
	case Fatal:
		return "fatal"
	}
	return "unknown"
}
