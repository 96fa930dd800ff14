package locktable_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/locktable"
	"github.com/godsm/godsm/supervisor"
)

func Example() {
	dir, err := os.MkdirTemp("", "locks")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	err = supervisor.Run(context.Background(), dsm.Config{Dir: dir, Application: "store"}, func(ctx context.Context, s *dsm.Session) error {
		t, err := locktable.Open(ctx, s, "storage", locktable.Options{})
		if err != nil {
			return err
		}
		pull, owner := t.As(ctx, "pull alpine:3.20")
		defer owner.Done()
		h, err := t.Lock(pull, locktable.Exclusive, "layers", "4f4fb700")
		if err != nil {
			return err
		}
		// Another process that uses the store would be told who is in its way.
		short, cancel := context.WithTimeout(ctx, time.Millisecond)
		defer cancel()
		_, err = t.Lock(short, locktable.Shared, "layers", "4f4fb700")
		if e, ok := errors.AsType[*locktable.WaitError](err); ok {
			for _, p := range e.Holders {
				fmt.Printf("%s: held %s by %s, which does %q\n", e.Name, p.Mode, p.Application, p.Note)
			}
		}
		if err := h.Unlock(); err != nil {
			return err
		}
		fmt.Println(h.Unlock())
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output:
	// layers/4f4fb700: held exclusive by store, which does "pull alpine:3.20"
	// locktable: the lock is not held any more: it was unlocked before
}
