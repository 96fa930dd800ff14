package pgx

import (
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// A Statement executes one kind of command, many at a time.
type Statement[Cmd, Res any] struct {
	// SQL is the text. Its parameters are arrays, of one element for each command. If it returns rows, the first
	// column is the number of the command that the row is for, a bigint from 1 on, as unnest ... WITH ORDINALITY
	// counts; there is at most one row for each command. A command that no row is for has the zero result.
	//
	//	UPDATE t SET v = u.v FROM unnest($1::text[], $2::int8[]) WITH ORDINALITY AS u (k, v, n) WHERE t.k = u.k RETURNING u.n
	//	DELETE FROM t USING unnest($1::text[]) WITH ORDINALITY AS u (k, n) WHERE t.k = u.k RETURNING u.n
	//	SELECT u.n, t.v FROM unnest($1::text[]) WITH ORDINALITY AS u (k, n) JOIN t USING (k)
	//
	// For inserts that return the generated id see InsertSQL; an upsert joins what it returns back by its key, as
	// UpsertSQL does.
	SQL string

	// One is the text that executes a command that is alone in its statement, where a simpler one does: with the
	// same parameters and columns. InsertOneSQL makes it for inserts. Empty: SQL.
	One string

	// Args appends the arrays to args.
	Args func(cmds []Cmd, args []any) []any

	// Dest appends where the columns after the first are scanned into. nil: there are none.
	Dest func(res *Res, dest []any) []any

	// Done is called for each command that a row has come back for. nil: the result is what Dest has made of it.
	Done func(res *Res)

	// Copy is how 500 commands and more are executed instead, by COPY. That is for commands without results, of which
	// none meets an existing row: a single bad row fails all of them, and is found by the statement. nil: never.
	Copy *Copy[Cmd]
}

// Copy says how commands are copied into a table.
type Copy[Cmd any] struct {
	Table   pgx.Identifier
	Columns []string
	Row     func(cmd Cmd, values []any) []any // appends the values of one row
}

// leastCopy is the number of commands from which COPY pays.
const leastCopy = 500

// Column is a column of a table, and the type of its elements as SQL writes it.
type Column struct{ Name, Type string }

// InsertSQL returns the text of a statement that inserts rows and returns the ordinal and the id of each that was
// inserted. The id is a column with a sequence of its own (serial or identity). Ids are dealt out in the order of the
// commands, before the rows are inserted, so that a trigger that skips rows moves no other row's id.
func InsertSQL(table, id string, columns ...Column) string {
	names, given := list(columns)
	return fmt.Sprintf(`WITH given AS MATERIALIZED (
	SELECT u.*, nextval((SELECT pg_get_serial_sequence(%[1]s, %[2]s)::regclass)) AS batch_id FROM unnest(%[3]s) WITH ORDINALITY AS u (%[4]s, batch_n)
), done AS (
	INSERT INTO %[5]s (%[6]s, %[4]s) OVERRIDING SYSTEM VALUE SELECT batch_id, %[4]s FROM given ORDER BY batch_n RETURNING %[6]s AS batch_id
) SELECT batch_n, batch_id FROM given JOIN done USING (batch_id)`,
		text(table), text(id), given, names, table, quote(id))
}

// InsertOneSQL returns the text of a statement that does for one command what InsertSQL's does for many, at half of its cost:
// a lone row needs no join to be told from others. It is for Statement.One.
func InsertOneSQL(table, id string, columns ...Column) string {
	names, _ := list(columns)
	var first []string
	for i, c := range columns {
		first = append(first, fmt.Sprintf("($%d::%s[])[1]", i+1, c.Type))
	}
	return fmt.Sprintf("INSERT INTO %s (%s) VALUES (%s) RETURNING 1::bigint, %s", table, names, strings.Join(first, ", "), quote(id))
}

// UpsertSQL returns the text of a statement that inserts rows, or sets the columns after the first of those that are
// there, and returns the ordinal of each. The first column is the key, which is unique.
func UpsertSQL(table string, columns ...Column) string {
	names, given := list(columns)
	key := quote(columns[0].Name)
	var sets []string
	for _, c := range columns[1:] {
		sets = append(sets, quote(c.Name)+" = excluded."+quote(c.Name))
	}
	return fmt.Sprintf(`WITH given AS MATERIALIZED (
	SELECT * FROM unnest(%[1]s) WITH ORDINALITY AS u (%[2]s, batch_n)
), done AS (
	INSERT INTO %[3]s (%[2]s) SELECT %[2]s FROM given ORDER BY batch_n ON CONFLICT (%[4]s) DO UPDATE SET %[5]s RETURNING %[4]s
) SELECT batch_n FROM given JOIN done USING (%[4]s)`, given, names, table, key, strings.Join(sets, ", "))
}

// text returns the text for as many commands.
func (st *Statement[Cmd, Res]) text(commands int) string {
	if commands == 1 && st.One != "" {
		return st.One
	}
	return st.SQL
}

// list returns the names of columns, and the arrays that are parameters for them.
func list(columns []Column) (names, given string) {
	var n, g []string
	for i, c := range columns {
		n = append(n, quote(c.Name))
		g = append(g, fmt.Sprintf("$%d::%s[]", i+1, c.Type))
	}
	return strings.Join(n, ", "), strings.Join(g, ", ")
}

// quote returns a name as SQL writes it.
func quote(name string) string { return pgx.Identifier{name}.Sanitize() }

// text returns a literal.
func text(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
