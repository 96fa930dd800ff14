package pgx_test

import (
	"context"
	"flag"
	"log/slog"
	"strings"
	"testing"

	"github.com/godsm/godsm/batch"
	"github.com/godsm/godsm/batch/batchtest"
	driver "github.com/godsm/godsm/batch/pgx"
	"github.com/jackc/pgx/v5"
)

var programs = flag.Int("programs", 40, "how many random programs the suite plays")

const definitions = `
CREATE TABLE parents (key text PRIMARY KEY);

INSERT INTO parents VALUES ('mother'), ('father');

CREATE TABLE rows (id bigint GENERATED ALWAYS AS IDENTITY, key text UNIQUE, value bigint CHECK (value >= 0), second text,
	parent text REFERENCES parents DEFERRABLE INITIALLY DEFERRED);

CREATE UNIQUE INDEX ON rows (md5(second));

CREATE TABLE log (seq bigserial, command int);

CREATE FUNCTION check_row() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
	CASE NEW.value
	WHEN 1000013 THEN RAISE 'refused';
	WHEN 1000014 THEN RETURN NULL;
	WHEN 1000015 THEN RAISE 'spoils';
	WHEN 1000016 THEN PERFORM pg_terminate_backend(pg_backend_pid()), pg_sleep(60);
	ELSE RETURN NEW;
	END CASE;
END $$;

CREATE TRIGGER check_row BEFORE INSERT ON rows FOR EACH ROW EXECUTE FUNCTION check_row()`

type (
	command   = batchtest.Command
	result    = batchtest.Result
	statement = driver.Statement[command, result]
)

// logs are statements that also log the commands' numbers. These are their first parameter.
func logs(sql string) string {
	for n := 8; n > 0; n-- {
		sql = strings.ReplaceAll(sql, "$"+string(rune('0'+n)), "$"+string(rune('1'+n)))
	}
	sql, with := strings.CutPrefix(sql, "WITH ")
	separator := " "
	if with {
		separator = ", "
	}
	return "WITH logged AS (INSERT INTO log (command) SELECT unnest($1::int[]))" + separator + sql
}

// ids are the commands' numbers.
func ids(cmds []command) (all []int32) {
	for _, c := range cmds {
		for _, id := range c.IDs() {
			all = append(all, int32(id))
		}
	}
	return all
}

// column returns one value of each command.
func column[T any](cmds []command, value func(command) T) []T {
	all := make([]T, len(cmds))
	for i, c := range cmds {
		all[i] = value(c)
	}
	return all
}

// orNull returns nil for no text.
func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func key(c command) string  { return c.Key }
func value(c command) int64 { return c.Value }
func one(r *result)         { r.Affected = 1 }

func scanID(r *result, dest []any) []any    { return append(dest, &r.ID) }
func scanValue(r *result, dest []any) []any { return append(dest, &r.Value) }

var columns = []driver.Column{{Name: "key", Type: "text"}, {Name: "value", Type: "int8"}, {Name: "second", Type: "text"}, {Name: "parent", Type: "text"}}

var statements = map[batchtest.Op]*statement{
	batchtest.Insert: {
		SQL: logs(driver.InsertSQL("rows", "id", columns...)),
		One: logs(driver.InsertOneSQL("rows", "id", columns...)),
		Args: func(cmds []command, args []any) []any {
			return append(args, ids(cmds), column(cmds, key), column(cmds, value),
				column(cmds, func(c command) *string { return orNull(c.Second) }),
				column(cmds, func(c command) *string { return orNull(c.Parent) }))
		},
		Dest: scanID,
		Done: one,
	},
	batchtest.Upsert: {
		SQL: logs(driver.UpsertSQL("rows", columns[:2]...)),
		Args: func(cmds []command, args []any) []any {
			return append(args, ids(cmds), column(cmds, key), column(cmds, value))
		},
		Done: one,
	},
	batchtest.Update: {
		SQL: logs("UPDATE rows SET value = u.value FROM unnest($1::text[], $2::int8[]) WITH ORDINALITY AS u (key, value, n) " +
			"WHERE rows.key = u.key RETURNING u.n"),
		Args: func(cmds []command, args []any) []any {
			return append(args, ids(cmds), column(cmds, key), column(cmds, value))
		},
		Done: one,
	},
	batchtest.Delete: {
		SQL:  logs("DELETE FROM rows USING unnest($1::text[]) WITH ORDINALITY AS u (key, n) WHERE rows.key = u.key RETURNING u.n"),
		Args: func(cmds []command, args []any) []any { return append(args, ids(cmds), column(cmds, key)) },
		Done: one,
	},
	batchtest.Add: {
		SQL: logs("UPDATE rows SET value = rows.value + u.value FROM unnest($1::text[], $2::int8[]) WITH ORDINALITY AS u (key, value, n) " +
			"WHERE rows.key = u.key RETURNING u.n, rows.value"),
		Args: func(cmds []command, args []any) []any {
			return append(args, ids(cmds), column(cmds, key), column(cmds, value))
		},
		Dest: scanValue,
		Done: one,
	},
	batchtest.Select: {
		SQL:  "SELECT u.n, rows.value FROM unnest($1::text[]) WITH ORDINALITY AS u (key, n) JOIN rows USING (key)",
		Args: func(cmds []command, args []any) []any { return append(args, column(cmds, key)) },
		Dest: scanValue,
		Done: one,
	},
}

func newDriver(p *place) batch.Driver[command, result] {
	return driver.New(p.config, func(c command) *statement { return statements[c.Op] },
		driver.Options{Logger: slog.New(slog.DiscardHandler)})
}

func TestSuite(t *testing.T) {
	places := make(chan *place, 100) // that are used again: a schema takes longer to make than most programs take
	batchtest.Run(t, *programs, func(one *testing.T) batchtest.Database {
		var p *place
		select {
		case p = <-places:
			if _, err := p.admin.Exec(context.Background(), "DELETE FROM rows; DELETE FROM log"); err != nil {
				one.Fatal(err)
			}
		default:
			p = newPlace(t)
		}
		one.Cleanup(func() { places <- p })
		return batchtest.Database{
			Driver: newDriver(p),
			State:  p.state,
			Exec: func(ctx context.Context, tx any, c command) (r result, err error) {
				s, cmds := statements[c.Op], []command{c}
				rows, err := tx.(*pgx.Conn).Query(ctx, s.SQL, s.Args(cmds, nil)...)
				if err != nil {
					return r, err
				}
				defer rows.Close()
				for rows.Next() {
					r.Affected++
				}
				return r, rows.Err()
			},
			Trips:   func() int { return int(p.trips.Load()) },
			Kill:    p.kill,
			CanKill: true,
		}
	})
}

// state reads what is there in the end.
func (p *place) state() (executed []int, rows map[string]batchtest.Row, err error) {
	log, _ := p.admin.Query(context.Background(), "SELECT command FROM log ORDER BY seq")
	if executed, err = pgx.CollectRows(log, pgx.RowTo[int]); err != nil {
		return nil, nil, err
	}
	all, err := p.admin.Query(context.Background(), "SELECT key, id, value, coalesce(second, '') FROM rows")
	if err != nil {
		return nil, nil, err
	}
	rows = map[string]batchtest.Row{}
	var name string
	var row batchtest.Row
	_, err = pgx.ForEachRow(all, []any{&name, &row.ID, &row.Value, &row.Second}, func() error {
		rows[name] = row
		return nil
	})
	return executed, rows, err
}
