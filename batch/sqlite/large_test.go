package sqlite_test

import (
	"flag"
	"fmt"
	"strings"
	"testing"

	"github.com/godsm/godsm/batch"
	"github.com/godsm/godsm/batch/batchtest"
)

var megabytes = flag.Int("megabytes", 20, "how large the set of rows is that is split")

// TestALargeSetOfRowsIsSplit hands in rows of 1 MB while the database is locked, so that all of them wait together.
func TestALargeSetOfRowsIsSplit(t *testing.T) {
	db := open(t)
	e := batch.New(newDriver(db), batchtest.Rules(), batch.Options{})
	other, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if _, err := other.ExecContext(t.Context(), "BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	text := strings.Repeat("0123456789abcdef", 1<<16)
	futures := make([]*batch.Future[result], *megabytes)
	for i := range futures {
		futures[i] = e.Submit(t.Context(), command{ID: i + 1, Op: batchtest.Insert, Key: fmt.Sprint("k", i), Second: fmt.Sprint(i, text)})
	}
	if _, err := other.ExecContext(t.Context(), "COMMIT"); err != nil {
		t.Fatal(err)
	}
	for _, f := range futures {
		if _, err := f.Wait(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if err := e.Close(t.Context()); err != nil {
		t.Error(err)
	}
	var rows, bytes int
	if err := db.QueryRow("SELECT count(*), sum(length(second)) FROM rows").Scan(&rows, &bytes); err != nil || rows != *megabytes || bytes < *megabytes<<20 {
		t.Errorf("%d rows of %d bytes, %v", rows, bytes, err)
	}
	if n := int(e.Stats().Commits); n < *megabytes/8 {
		t.Errorf("%d MB were written by %d transactions of at most 8 MB", *megabytes, n)
	}
	t.Logf("%d rows of 1 MB by %d transactions", rows, e.Stats().Commits)
}
