// Command guestbook serves HTTP from several processes that write into one database: with one connection for each, with
// a pool of 32 in all, and through package batch/shared, where one of them executes what all hand in. Clients sign the
// book (POST), count visits of a few hot pages (PUT), and read them (GET), with batch from a cache that all processes share.
// Meanwhile a process is killed each second, at times the one that leads, and with batch the database is locked for a while.
// No read may miss a visit that was acknowledged before, and in the end what was acknowledged is compared with what is in the
// tables.
//
//	go run -C examples/guestbook .
//	go run -C examples/guestbook . -dsn 'host=/var/run/postgresql dbname=test' -for 5s
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/parallel"
	"github.com/godsm/godsm/supervisor"
)

const workers = 4

var (
	dsn     = flag.String("dsn", "", "a PostgreSQL database, in which tables are made; without, SQLite in a temporary directory")
	clients = flag.Int("clients", 64, "how many clients ask at once")
	span    = flag.Duration("for", 3*time.Second, "how long each side is asked")
	locked  = flag.Duration("locked", 2*time.Second, "how long the database is locked once")
)

func main() {
	log.SetFlags(0)
	parallel.Main()
	flag.Parse()
	if err := supervisor.Run(context.Background(), dsm.Config{}, run); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, s *dsm.Session) error {
	dir, err := os.MkdirTemp("", "guestbook")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	p := place{DSN: *dsn, File: dir + "/guestbook.db"}
	fmt.Printf("%s, %d processes, %d clients, %v each; a process is killed each second\n", p, workers, *clients, *span)
	for _, side := range []string{"single", "pool", "batch"} {
		p.Side = side
		if err := try(ctx, s, p); err != nil {
			return fmt.Errorf("%s: %w", side, err)
		}
	}
	return nil
}

// try starts the processes, asks them, and compares.
func try(ctx context.Context, s *dsm.Session, p place) error {
	t, err := open(ctx, p)
	if err != nil {
		return err
	}
	defer t.close()
	if err := t.make(ctx); err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	l := newLoad()
	ended := make(chan error, 1)
	o := parallel.Options{Workers: workers, Retries: 1000, Result: l.listens}
	go func() { ended <- worker.RunWith(ctx, s, o, p) }()
	select {
	case <-l.up:
	case err := <-ended:
		return err
	}
	report := l.run(ctx, t, p.Side == "batch")
	stop()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		return err
	}
	lost, doubled, err := l.reconcile(context.WithoutCancel(ctx), t)
	fmt.Printf("%-7s %s; acknowledged and lost: %d, written twice: %d\n", p.Side, report, lost, doubled)
	if err == nil && lost+doubled > 0 {
		err = errors.New("the tables are not what clients were told")
	}
	return err
}
