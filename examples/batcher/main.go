// Command batcher has many processes insert into one SQLite database through one process that writes: it groups what is asked for at the
// same time into one transaction, and answers each caller when that is on disk. Writer and submitters are killed on the way; what was
// acknowledged is there in the end.
//
//	go run -C examples/batcher .
package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/parallel"
	"github.com/godsm/godsm/supervisor"
)

const (
	submitters = 4  // processes
	callers    = 32 // goroutines of each, which insert one row at a time
	each       = 50 // rows of each
	alone      = 300
	writers    = 3 // of which the first ones die
)

// submitter inserts its rows, from many goroutines, and tells the leader of each that was acknowledged.
var submitter = parallel.Register("submitter", func(ctx context.Context, w *parallel.Worker, _ string) error {
	var wg sync.WaitGroup
	errs := make([]error, callers)
	for i := range callers {
		wg.Go(func() {
			c := client{session: w.Session}
			defer c.close()
			for n := 0; n < each && errs[i] == nil; n++ {
				key := fmt.Sprintf("%d/%d/%d", w.Index, i, n)
				if errs[i] = c.insert(ctx, row{key, "a row"}); errs[i] == nil {
					errs[i] = w.Send(ctx, []byte(key))
				}
				if n == each/2 && i == 0 && w.Attempt == 0 && w.Index < submitters/2 {
					die()
				}
			}
			if c.insert(ctx, row{Key: "?"}) == nil { // no text: this caller's error, and nobody else's
				errs[i] = errors.Join(errs[i], errors.New("a row without a text was taken"))
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
})

// die is kill -9.
func die() {
	self, _ := os.FindProcess(os.Getpid())
	_ = self.Kill()
	select {}
}

func main() {
	log.SetFlags(0)
	parallel.Main()
	dir, err := os.MkdirTemp("", "batcher")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	err = supervisor.Run(context.Background(), dsm.Config{}, func(ctx context.Context, s *dsm.Session) error {
		single, err := oneAtATime(filepath.Join(dir, "alone.db"))
		if err != nil {
			return err
		}
		fmt.Printf("one insert at a time:    %6.0f rows/s\n", single)
		return batched(ctx, s, filepath.Join(dir, "batched.db"), single)
	})
	if err != nil {
		log.Fatal(err)
	}
}

func oneAtATime(path string) (perSecond float64, err error) {
	db, err := open(path)
	if err != nil {
		return 0, err
	}
	defer db.Close()
	begin := time.Now()
	for i := range alone {
		var id int64
		if err := put(db, row{fmt.Sprint(i), "a row"}).Scan(&id); err != nil {
			return 0, err
		}
	}
	return alone / time.Since(begin).Seconds(), nil
}

func batched(ctx context.Context, s *dsm.Session, path string, single float64) error {
	db, err := open(path)
	if err != nil {
		return err
	}
	defer db.Close()
	writing, end := context.WithCancel(ctx)
	defer end()
	wrote := make(chan error, 1)
	submitting, giveUp := context.WithCancel(ctx)
	defer giveUp()
	go func() {
		wrote <- writer.RunWith(writing, s, parallel.Options{Workers: 1, Retries: writers - 1}, path)
		giveUp() // nobody writes any more
	}()
	acknowledged := map[string]bool{}
	begin := time.Now()
	err = submitter.RunWith(submitting, s, parallel.Options{Workers: submitters, Retries: submitters, Result: func(_ int, key []byte) error {
		acknowledged[string(key)] = true
		return nil
	}}, "")
	took := time.Since(begin)
	end()
	if werr := <-wrote; !errors.Is(werr, context.Canceled) {
		err = errors.Join(err, werr)
	}
	if err != nil {
		return err
	}
	many := float64(len(acknowledged)) / took.Seconds()
	fmt.Printf("many processes, batched: %6.0f rows/s, %.1f times as many, though a writer was killed twice and two submitters once each\n", many, many/single)
	return compare(db, acknowledged)
}

// compare looks whether what was acknowledged is there, once, and nothing else.
func compare(db *sql.DB, acknowledged map[string]bool) error {
	rows, err := db.Query("SELECT key FROM rows")
	if err != nil {
		return err
	}
	defer rows.Close()
	n := 0
	for ; rows.Next(); n++ {
		var key string
		if err := rows.Scan(&key); err != nil {
			return err
		}
		delete(acknowledged, key)
	}
	if want := submitters * callers * each; n != want || len(acknowledged) != 0 {
		return fmt.Errorf("%d rows, not %d; %d were acknowledged and are lost", n, want, len(acknowledged))
	}
	fmt.Printf("all %d rows that were acknowledged are there, each once\n", n)
	return rows.Err()
}
