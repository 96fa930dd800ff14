// Command dshash shows a hash table between processes: two workers count the words of a text in
// one table, each word's count an entry. A third one takes an entry, changes it and is killed
// before it lets go: the count is as it was, and no process waits.
//
//	go run ./examples/dshash
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"strings"

	"github.com/godsm/godsm/area"
	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/parallel"
	"github.com/godsm/godsm/shm/dsa"
	"github.com/godsm/godsm/shm/dshash"
	"github.com/godsm/godsm/supervisor"
)

const text = `shared memory made at run time by one process, found by another process,
and gone with the last process that has it: memory that outlives one process or another,
and no process that is killed keeps memory from the others`

type word [16]byte

// place says where the table is.
type place struct {
	Area  dsm.Handle
	Table dsa.Pointer
}

func (p place) open(ctx context.Context, w *parallel.Worker) (*dshash.Table[word, uint64], error) {
	a, err := area.Attach(ctx, w.Session, w.Owner, p.Area)
	if err != nil {
		return nil, err
	}
	return dshash.Attach[word, uint64](a, p.Table, dshash.Options{})
}

// counter adds what it finds in the text to the table.
var counter = parallel.Register("counter", func(ctx context.Context, w *parallel.Worker, p place) error {
	tab, err := p.open(ctx, w)
	if err != nil {
		return err
	}
	for range 1000 {
		for _, s := range strings.Fields(text) {
			var k word
			copy(k[:], strings.Trim(s, ",:"))
			e, _, err := tab.Insert(ctx, k)
			if err != nil {
				return err
			}
			n, err := e.Update()
			if err != nil {
				return err
			}
			*n++
			e.Release()
		}
	}
	return nil
})

// clumsy dies with an entry.
var clumsy = parallel.Register("clumsy", func(ctx context.Context, w *parallel.Worker, p place) error {
	tab, err := p.open(ctx, w)
	if err != nil {
		return err
	}
	e, found, err := tab.FindExclusive(ctx, word{'m', 'e', 'm', 'o', 'r', 'y'})
	if !found || err != nil {
		return errors.Join(errors.New("no memory"), err)
	}
	n, err := e.Update()
	if err != nil {
		return err
	}
	*n = 0
	self, _ := os.FindProcess(os.Getpid())
	_ = self.Kill()
	select {} // until the signal arrives
})

func run(ctx context.Context, s *dsm.Session) error {
	a, err := area.Create(ctx, s, s.Owner(), dsa.Options{})
	if err != nil {
		return err
	}
	tab, err := dshash.Create[word, uint64](a, dshash.Options{})
	if err != nil {
		return err
	}
	p := place{area.Handle(a), tab.Handle()}
	if err := counter.Run(ctx, s, 2, p); err != nil {
		return err
	}
	fmt.Println("the clumsy one's end:", clumsy.Run(ctx, s, 1, p))
	for e, err := range tab.Scan(ctx, false) {
		if err != nil {
			return err
		}
		if k := e.Key(); *e.Value() >= 4000 {
			fmt.Printf("%6d %s\n", *e.Value(), bytes.TrimRight(k[:], "\x00"))
		}
	}
	n, _, err := tab.Get(ctx, word{'m', 'e', 'm', 'o', 'r', 'y'})
	if want := uint64(2 * 1000 * strings.Count(text, "memory")); err != nil || n != want {
		return fmt.Errorf("memory was counted %d times, not %d: %w", n, want, err)
	}
	if err := tab.Destroy(ctx); err != nil {
		return err
	}
	return a.Detach()
}

func main() {
	parallel.Main()
	if err := supervisor.Run(context.Background(), dsm.Config{}, run); err != nil {
		log.Fatal(err)
	}
}
