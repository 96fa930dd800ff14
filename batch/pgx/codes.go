package pgx

import (
	"cmp"
	"errors"

	"github.com/godsm/godsm/batch"
	"github.com/jackc/pgx/v5/pgconn"
)

// Codes say what PostgreSQL's SQLSTATE codes, or their classes of two letters, mean for a flush; those that are not
// listed are errors of one command. Options.Codes overrides them.
var Codes = map[string]batch.Class{
	"40001": batch.Transient, // serialization_failure
	"40P01": batch.Transient, // deadlock_detected
	"55P03": batch.Transient, // lock_not_available
	"53":    batch.Transient, // insufficient resources: too many connections, out of memory
	"57P03": batch.Transient, // cannot_connect_now
	"25006": batch.Transient, // read_only_sql_transaction: a standby, until it is promoted; on a new connection
	"26000": batch.Transient, // invalid_sql_statement_name: a prepared statement is gone; on a new connection
	"0A000": batch.Batch,     // feature_not_supported, and a cached plan whose result type has changed
	"21000": batch.Batch,     // cardinality_violation
	"54":    batch.Batch,     // program limit exceeded
	"57014": batch.Batch,     // query_canceled: a statement that has taken too long, perhaps because of its size
	"08":    batch.Lost,      // connection exceptions
	"40003": batch.Lost,      // statement_completion_unknown
	"57P01": batch.Lost,      // admin_shutdown
	"57P02": batch.Lost,      // crash_shutdown
	"57P05": batch.Lost,      // idle_session_timeout
	"25P03": batch.Lost,      // idle_in_transaction_session_timeout
	"53100": batch.Fatal,     // disk_full
	"28":    batch.Fatal,     // invalid authorization
	"3D000": batch.Fatal,     // the database does not exist
	"57P04": batch.Fatal,     // database_dropped
}

// stale are errors of a connection whose prepared statements, or whose server, are not what they were.
var stale = map[string]bool{"25006": true, "26000": true, "0A000": true}

// lost is an error after which the connection can't be used.
type lost struct{ error }

// Unwrap returns the cause.
func (e lost) Unwrap() error { return e.error }

// fatal is an error of the driver's own row.
type fatal struct{ error }

// Unwrap returns the cause.
func (e fatal) Unwrap() error { return e.error }

// Class implements batch.Driver.
func (c *conn[Cmd, Res]) Class(err error) batch.Class {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok && len(pg.Code) == 5 {
		own, shared := c.options.Codes, Codes
		class := cmp.Or(own[pg.Code], own[pg.Code[:2]], shared[pg.Code], shared[pg.Code[:2]])
		if class == 0 && pg.Severity == "FATAL" {
			class = batch.Lost
		}
		return cmp.Or(class, batch.Row)
	}
	if _, ok := errors.AsType[fatal](err); ok {
		return batch.Fatal
	}
	if _, ok := errors.AsType[lost](err); ok {
		return batch.Lost
	}
	return batch.Row
}
