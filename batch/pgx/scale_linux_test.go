package pgx_test

import (
	"flag"
	"fmt"
	"sync"
	"testing"

	"github.com/godsm/godsm/batch"
)

var (
	callers = flag.Int("callers", 100, "how many callers insert at once")
	each    = flag.Int("each", 20, "how many rows each of them inserts")
)

// TestManyCallersShareStatements has many callers insert one row after another. Each is told the id of its own row, and a
// statement has many rows: with 1,000 callers, 50 or more.
func TestManyCallersShareStatements(t *testing.T) {
	p := newPlace(t)
	for _, sql := range []string{
		"CREATE TABLE notes (id bigserial, text text UNIQUE CHECK (text <> ''))",
		"CREATE TABLE statements (n bigserial)",
		"CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO statements DEFAULT VALUES; RETURN NULL; END $$",
		"CREATE TRIGGER note AFTER INSERT ON notes FOR EACH STATEMENT EXECUTE FUNCTION note()",
	} {
		p.exec(t, sql)
	}
	e := batch.New(notes(p.config), byText, batch.Options{})
	ids := make([]map[string]int64, *callers)
	var wg sync.WaitGroup
	for caller := range ids {
		ids[caller] = map[string]int64{}
		wg.Go(func() {
			for i := range *each {
				text := fmt.Sprint(caller, " ", i)
				id, err := e.Do(t.Context(), text)
				if err != nil {
					t.Error(err)
					return
				}
				ids[caller][text] = id
			}
		})
	}
	wg.Wait()
	if err := e.Close(t.Context()); err != nil {
		t.Error(err)
	}
	told := map[string]int64{}
	for _, some := range ids {
		for text, id := range some {
			told[text] = id
		}
	}
	rows, err := p.admin.Query(t.Context(), "SELECT text, id FROM notes")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	n := 0
	for rows.Next() {
		var text string
		var id int64
		if err := rows.Scan(&text, &id); err != nil {
			t.Fatal(err)
		}
		if n++; told[text] != id {
			t.Errorf("the row %q has the id %d; its caller was told %d", text, id, told[text])
		}
	}
	if rows.Err() != nil || n != *callers**each {
		t.Errorf("%d rows of %d, %v", n, *callers**each, rows.Err())
	}
	var statements int
	if err := p.admin.QueryRow(t.Context(), "SELECT count(*) FROM statements").Scan(&statements); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d rows by %d statements", n, statements)
	if statements > max(10, n*20 / *callers) {
		t.Error("that is too many")
	}
}
