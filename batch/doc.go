// Package batch lets many callers share one call. Callers hand in commands; one worker takes all that wait at that
// moment, groups them into few statements, executes these in one transaction, and answers each caller with its own
// result or its own error. While a flush is under way the next one gathers, so the batch size follows the load: a lone
// caller does not wait, and a thousand callers share a commit.
//
// The package knows no SQL and no shared memory. A [Driver] executes statements; [Rules] say which commands may be one
// statement, and which may pass each other.
//
// What it promises:
//
//   - A command that was accepted once is executed at most once, and its caller gets one outcome. A caller that can't
//     know whether its command was executed is told so: see [Executed].
//   - Each caller's result and error are those of some serial execution of all commands, one at a time, in an order in
//     which commands of one key, commands of one [Ordered] context, and commands of which one was answered before the
//     other was handed in, keep their order.
//   - One caller's bad command is that caller's error alone. Deadlocks, serialization failures and lost connections are
//     retried, and no caller sees them.
//   - A context withdraws its own command while it is not in a flush; it never cancels the command of another caller.
//
// What it does not promise: an order between commands of different keys that one goroutine hands in by Submit, other
// than under [Ordered]; that a command is retried after its process has died; and isolation of a caller's command from
// those that share its transaction: all of a flush become visible at once.
//
// A command is in one of these states, and moves only so:
//
//	waiting -> taken        the worker takes it into a flush
//	taken -> waiting        the flush was rolled back and will be tried again
//	waiting -> withdrawn    its caller's context ended: it is not executed
//	taken -> left           its caller's context ended: it may be executed, and the answer goes nowhere
//	left -> withdrawn       the flush was rolled back: it is not tried again
//	taken, left -> done     the transaction was committed, or the command has failed for good
//
// Locks: queue.mu and Engine.statsMu are held for single steps, and never one inside the other.
package batch
