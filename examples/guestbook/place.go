package main

import (
	"context"

	"github.com/godsm/godsm/batch"
)

// A place is a database, and how the processes write into it: what they are told at their start.
type place struct{ DSN, File, Side string }

// String names the database.
func (p place) String() string {
	if p.DSN != "" {
		return "PostgreSQL"
	}
	return "SQLite"
}

// tables are the guests and the visits in a database.
type tables interface {
	make(ctx context.Context) error                            // anew
	direct(ctx context.Context, n int) (writer, error)         // by n connections, a commit for each command
	driver() (batch.Driver[command, int64], error)             // of package batch
	visits(ctx context.Context, page string) (int64, error)    // of a page
	guests(ctx context.Context) (map[string]int, error)        // how often each text is there
	lock(ctx context.Context) (unlock func() error, err error) // against all writers
	close()
}

func open(ctx context.Context, p place) (tables, error) {
	if p.DSN != "" {
		return openPostgres(ctx, p.DSN)
	}
	return openSQLite(p.File)
}
