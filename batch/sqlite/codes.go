package sqlite

import (
	"github.com/godsm/godsm/batch"
	lib "modernc.org/sqlite/lib"
)

// Codes say what SQLite's result codes mean for a flush; those that are not listed are errors of one command.
// Options.Codes overrides them.
var Codes = map[int]batch.Class{
	lib.SQLITE_BUSY:      batch.Transient,
	lib.SQLITE_LOCKED:    batch.Transient,
	lib.SQLITE_PROTOCOL:  batch.Transient,
	lib.SQLITE_SCHEMA:    batch.Transient,
	lib.SQLITE_INTERRUPT: batch.Transient,
	lib.SQLITE_NOMEM:     batch.Transient,
	lib.SQLITE_IOERR:     batch.Lost, // a COMMIT with this error may be on disk
	lib.SQLITE_CANTOPEN:  batch.Fatal,
	lib.SQLITE_FULL:      batch.Fatal,
	lib.SQLITE_READONLY:  batch.Fatal,
	lib.SQLITE_CORRUPT:   batch.Fatal,
	lib.SQLITE_NOTADB:    batch.Fatal,
	lib.SQLITE_PERM:      batch.Fatal,
}

// busy are the primary codes of a lock that another connection holds.
var busy = map[int]bool{lib.SQLITE_BUSY: true, lib.SQLITE_LOCKED: true}
