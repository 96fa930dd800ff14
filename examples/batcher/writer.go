package main

import (
	"context"
	"database/sql"
	"encoding/gob"
	"errors"
	"net"
	"runtime"
	"time"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/dsmnet"
	"github.com/godsm/godsm/parallel"
	_ "modernc.org/sqlite"
)

// row is what is asked for, answer what comes of it.
type (
	row    struct{ Key, Text string }
	answer struct {
		ID    int64
		Error string
	}
	request struct {
		row  row
		done chan answer
	}
)

const (
	name    = "writer"
	largest = 1000 // rows in a transaction
)

// open opens the database so that a commit is on disk when it returns. Inserting a key again gives the row that is there: who was not told
// of it may ask again.
func open(path string) (*sql.DB, error) {
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(5000)&_pragma=journal_mode(wal)&_pragma=synchronous(full)&_txlock=immediate")
	if err == nil {
		_, err = db.Exec("CREATE TABLE IF NOT EXISTS rows (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, text TEXT NOT NULL CHECK (text <> ''))")
	}
	return db, err
}

func put(db interface {
	QueryRow(query string, args ...any) *sql.Row
}, r row) *sql.Row {
	return db.QueryRow("INSERT INTO rows (key, text) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET key = key RETURNING id", r.Key, r.Text)
}

// writer takes connections and writes what they ask for, until it is told to stop.
var writer = parallel.Register("writer", func(ctx context.Context, w *parallel.Worker, path string) error {
	db, err := open(path)
	if err != nil {
		return err
	}
	defer db.Close()
	l, err := dsmnet.Listen(ctx, w.Session, name)
	if err != nil {
		return err
	}
	defer l.Close()
	requests := make(chan request)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go serve(conn, requests)
		}
	}()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case first := <-requests:
			batch := collect(first, requests)
			answers, err := commit(ctx, db, batch)
			if err != nil {
				return err
			}
			if n == 10 && w.Attempt < writers-1 {
				die() // with rows on disk that nobody was told of
			}
			for i, r := range batch {
				r.done <- answers[i]
			}
		}
	}
})

func serve(conn net.Conn, requests chan<- request) {
	defer conn.Close()
	in, out := gob.NewDecoder(conn), gob.NewEncoder(conn)
	for {
		r := request{done: make(chan answer, 1)}
		if in.Decode(&r.row) != nil {
			return
		}
		requests <- r
		if out.Encode(<-r.done) != nil {
			return
		}
	}
}

// collect takes what others have asked for meanwhile.
func collect(first request, requests <-chan request) []request {
	batch := []request{first}
	for idle := 0; idle < 2 && len(batch) < largest; {
		select {
		case r := <-requests:
			batch = append(batch, r)
			idle = 0
		default:
			runtime.Gosched() // those who have just been answered
			idle++
		}
	}
	return batch
}

// commit writes a batch in one transaction. A row that can't be inserted is its caller's error alone.
func commit(ctx context.Context, db *sql.DB, batch []request) ([]answer, error) {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer tx.Rollback()
	answers := make([]answer, len(batch))
	for i, r := range batch {
		if err := put(tx, r.row).Scan(&answers[i].ID); err != nil {
			answers[i].Error = err.Error()
		}
	}
	return answers, tx.Commit()
}

// client is a caller's connection to the writer, whoever that is at the time.
type client struct {
	session *dsm.Session
	conn    net.Conn
	in      *gob.Decoder
	out     *gob.Encoder
}

// insert returns when the row is on disk, or can't be inserted. If the writer dies it asks the next one.
func (c *client) insert(ctx context.Context, r row) error {
	for ctx.Err() == nil {
		a, err := c.ask(ctx, r)
		if err == nil {
			if a.Error != "" {
				return errors.New(a.Error)
			}
			return nil
		}
		c.close()
		time.Sleep(time.Millisecond)
	}
	return ctx.Err()
}

func (c *client) ask(ctx context.Context, r row) (a answer, err error) {
	if c.conn == nil {
		if c.conn, err = dsmnet.Dial(ctx, c.session, name); err != nil {
			c.conn = nil
			return a, err
		}
		c.in, c.out = gob.NewDecoder(c.conn), gob.NewEncoder(c.conn)
	}
	if err = c.out.Encode(r); err == nil {
		err = c.in.Decode(&a)
	}
	return a, err
}

func (c *client) close() {
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}
