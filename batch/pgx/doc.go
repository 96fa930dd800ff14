// Package pgx is a driver of package batch for PostgreSQL, over github.com/jackc/pgx/v5.
//
// A flush costs two round trips: one with BEGIN, the driver's own row and all statements, one with COMMIT. Statements
// take arrays, one for each column, which unnest makes rows of: so their text does not depend on the number of rows,
// and no limit on parameters is met. What comes back names its command by an ordinal, since PostgreSQL promises no
// order of RETURNING.
//
// Deferrable constraints are immediate in these transactions, since each command must be valid by itself. An
// interaction may SET CONSTRAINTS ... DEFERRED for its own time; they are checked at its end.
//
// What the driver keeps in the database is the table batch_epoch, with one row for each driver in use; it makes the
// table when it first connects, in the first schema of the search path. The row is written in every transaction that
// writes, and tells after a COMMIT without an answer whether the transaction is there. That is as sure as the server's
// own promise: with synchronous_commit off, with fsync off, and after a failover to an asynchronous standby, a server
// may lose transactions that it has acknowledged. The driver logs a warning when it sees one of the first two.
package pgx
