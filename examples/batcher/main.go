// Command batcher has many processes insert into one SQLite database through one process that writes:
// it groups what is asked for at the same time into one transaction, and answers each caller when that
// is on disk. Writer and submitters are killed on the way; what was acknowledged is there in the end.
//
//	go run -C examples/batcher .
package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net/rpc"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/dsmnet"
	"github.com/godsm/godsm/parallel"
	"github.com/godsm/godsm/supervisor"
	_ "modernc.org/sqlite"
)

const (
	service    = "writer"
	alone      = 300 // rows, inserted one at a time
	submitters = 4   // processes, of which two are killed
	callers    = 32  // goroutines of each
	each       = 50  // rows of each, one at a time too
	kills      = 2   // of the writer

	pragmas = "?_pragma=journal_mode(wal)&_pragma=synchronous(full)&_pragma=busy_timeout(5000)" // a commit is on disk
)

// request is a row that a caller waits for.
type request struct {
	text string
	id   int64
	err  error
	done chan struct{}
}

// queue is what the callers wait in.
type queue chan *request

// Insert is what callers call. Package rpc runs each call in a goroutine of its own.
func (q queue) Insert(text string, id *int64) error {
	r := &request{text: text, done: make(chan struct{})}
	q <- r
	<-r.done
	*id = r.id
	return r.err
}

// member is one of the processes. The first one writes; the others submit.
var member = parallel.Register("member", func(ctx context.Context, w *parallel.Worker, database string) error {
	if w.Index == 0 {
		return write(ctx, w, database)
	}
	var wg sync.WaitGroup
	errs := make([]error, callers)
	c := &client{session: w.Session}
	for i := range callers {
		wg.Go(func() { errs[i] = submit(ctx, w, c, fmt.Sprintf("of caller %d of process %d", i, w.Index)) })
	}
	wg.Wait()
	return errors.Join(errs...)
})

// submit inserts a caller's rows, and tells the leader of each that was acknowledged.
func submit(ctx context.Context, w *parallel.Worker, c *client, name string) error {
	if _, err := c.insert(ctx, ""); err == nil { // this caller's error, and nobody else's
		return errors.New("a row without a text was taken")
	}
	for n := range each {
		text := fmt.Sprintf("row %d %s", n, name)
		id, err := c.insert(ctx, text)
		if err == nil {
			err = w.Send(ctx, fmt.Appendf(nil, "%d %s", id, text))
		}
		if err != nil {
			return err
		}
		if n == each/2 && w.Index <= 2 && w.Attempt == 0 {
			die()
		}
	}
	return nil
}

// write serves until it is told to stop. Those who ask while it commits are the next transaction.
func write(ctx context.Context, w *parallel.Worker, database string) error {
	db, err := sql.Open("sqlite", database)
	if err != nil {
		return err
	}
	defer db.Close()
	l, err := dsmnet.Listen(ctx, w.Session, service)
	if err != nil {
		return err
	}
	requests := make(queue, submitters*callers)
	if err := rpc.RegisterName(service, requests); err != nil {
		return err
	}
	go func() {
		for conn, err := l.Accept(); err == nil; conn, err = l.Accept() {
			go rpc.ServeConn(conn)
		}
	}()
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case first := <-requests:
			batch := []*request{first}
			for len(requests) > 0 {
				batch = append(batch, <-requests)
			}
			if err := commit(db, batch...); err != nil {
				return err
			}
			if n == 10 && w.Attempt < kills {
				die() // with rows on disk that nobody was told of
			}
			for _, r := range batch {
				close(r.done)
			}
		}
	}
}

// commit inserts rows in one transaction. One that can't be inserted is its caller's error alone. One that is there
// already is answered with its id: who was not told of it may ask again.
func commit(db *sql.DB, batch ...*request) error {
	tx, err := db.Begin()
	if err != nil {
		return err
	}
	defer tx.Rollback()
	const insert = "INSERT INTO rows (text) VALUES (?) ON CONFLICT (text) DO UPDATE SET text = text RETURNING id"
	for _, r := range batch {
		r.err = tx.QueryRow(insert, r.text).Scan(&r.id)
	}
	return tx.Commit()
}

// client is a process's connection to the writer, whoever that is at the time.
type client struct {
	session *dsm.Session
	mu      sync.Mutex
	rpc     *rpc.Client // nil if there is none
}

// writer is the connection, a new one if the last is broken.
func (c *client) writer(ctx context.Context, broken *rpc.Client) (*rpc.Client, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.rpc == nil || c.rpc == broken {
		if c.rpc != nil {
			_ = c.rpc.Close()
			c.rpc = nil
		}
		conn, err := dsmnet.Dial(ctx, c.session, service)
		if err != nil {
			return nil, err
		}
		c.rpc = rpc.NewClient(conn)
	}
	return c.rpc, nil
}

// insert returns when the row is on disk, or can't be inserted. If the writer dies it asks the next one.
func (c *client) insert(ctx context.Context, text string) (id int64, err error) {
	for w := (*rpc.Client)(nil); ctx.Err() == nil; time.Sleep(time.Millisecond) {
		if w, err = c.writer(ctx, w); err != nil {
			continue
		}
		err = w.Call(service+".Insert", text, &id)
		if _, refused := err.(rpc.ServerError); err == nil || refused {
			return id, err
		}
	}
	return 0, ctx.Err()
}

// die is kill -9.
func die() {
	self, _ := os.FindProcess(os.Getpid())
	_ = self.Kill()
	select {}
}

func main() {
	log.SetFlags(0)
	parallel.Main()
	if err := supervisor.Run(context.Background(), dsm.Config{}, run); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, s *dsm.Session) error {
	dir, err := os.MkdirTemp("", "batcher")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	database := "file:" + filepath.Join(dir, "rows.db") + pragmas
	db, err := sql.Open("sqlite", database)
	if err != nil {
		return err
	}
	defer db.Close()
	if _, err := db.Exec("CREATE TABLE rows (id INTEGER PRIMARY KEY, text UNIQUE CHECK (text <> ''))"); err != nil {
		return err
	}

	begin := time.Now()
	for i := range alone {
		if err := commit(db, &request{text: fmt.Sprint(i)}); err != nil {
			return err
		}
	}
	single := alone / time.Since(begin).Seconds()
	fmt.Printf("one insert at a time:    %6.0f rows/s\n", single)

	ctx, stop := context.WithCancel(ctx)
	defer stop()
	acknowledged := map[string]bool{}
	note := func(_ int, row []byte) error {
		if acknowledged[string(row)] = true; len(acknowledged) == submitters*callers*each {
			stop()
		}
		return nil
	}
	begin = time.Now()
	o := parallel.Options{Workers: 1 + submitters, Retries: kills + 2, Result: note}
	if err := member.RunWith(ctx, s, o, database); !errors.Is(err, context.Canceled) {
		return fmt.Errorf("they ended with %d rows acknowledged: %w", len(acknowledged), err)
	}
	many := submitters * callers * each / time.Since(begin).Seconds()
	fmt.Printf("many processes, batched: %6.0f rows/s, %.1f times as many, ", many, many/single)
	fmt.Println("though a writer was killed twice and two submitters once each")

	list, err := json.Marshal(acknowledged)
	if err != nil {
		return err
	}
	const count = "SELECT count(*) FROM rows WHERE id || ' ' || text IN (SELECT key FROM json_each(?))"
	var n int
	if err := db.QueryRow(count, string(list)).Scan(&n); err != nil || n != len(acknowledged) {
		return fmt.Errorf("%d rows were acknowledged, %d are there (%v)", len(acknowledged), n, err)
	}
	fmt.Printf("all %d rows that were acknowledged are there, each once\n", n)
	return nil
}
