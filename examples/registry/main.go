// Command registry shows processes that find each other's memory by name: no process hands a handle to another.
// Three workers sign a guest book, which the first of them makes; the leader reads it when they are gone.
//
//	go run ./examples/registry
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"sync/atomic"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/parallel"
	"github.com/godsm/godsm/registry"
	"github.com/godsm/godsm/shm/dsa"
	"github.com/godsm/godsm/supervisor"
)

// book is what lies in the segment "guest book". The entries are in the area "pages".
type book struct {
	Founder atomic.Int64
	Guests  atomic.Int64
	Entries [16]atomic.Uint64 // dsa.Pointers
}

func open(ctx context.Context, s *dsm.Session) (*book, *dsa.Area, error) {
	b, err := registry.Segment(ctx, s, "guest book", func(b *book) error {
		b.Founder.Store(int64(os.Getpid())) // once, however many come at the same time
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	pages, err := registry.Area(ctx, s, "pages", dsa.Options{})
	return b, pages, err
}

var guest = parallel.Register("guest", func(ctx context.Context, w *parallel.Worker, _ struct{}) error {
	b, pages, err := open(ctx, w.Session)
	if err != nil {
		return err
	}
	text := fmt.Sprintf("process %d was here", os.Getpid())
	p, err := pages.Alloc(len(text))
	if err != nil {
		return err
	}
	page, err := pages.Bytes(p)
	if err != nil {
		return err
	}
	copy(page, text)
	b.Entries[b.Guests.Add(1)-1].Store(uint64(p))
	return nil
})

func run(ctx context.Context, s *dsm.Session) error {
	const guests = 3
	if err := guest.Run(ctx, s, guests, struct{}{}); err != nil {
		return err
	}
	names, err := registry.List(ctx, s) // before this process has any of it attached
	if err != nil {
		return err
	}
	for _, x := range names {
		fmt.Printf("%-10s  %-7s  %7d bytes  %d sessions\n", x.Name, x.Kind, x.Size, len(x.Sessions))
	}
	b, pages, err := open(ctx, s)
	if err != nil {
		return err
	}
	fmt.Println("founded by process", b.Founder.Load())
	for i := range b.Guests.Load() {
		page, err := pages.Bytes(dsa.Pointer(b.Entries[i].Load()))
		if err != nil {
			return err
		}
		fmt.Printf("%s\n", page)
	}
	for _, x := range names {
		if err := registry.Delete(ctx, s, x.Name); err != nil {
			return err
		}
	}
	if n := b.Guests.Load(); n != guests {
		return fmt.Errorf("%d guests", n)
	}
	return nil
}

func main() {
	parallel.Main() // in a worker this runs guest and never returns
	if err := supervisor.Run(context.Background(), dsm.Config{}, run); err != nil {
		log.Fatal(err)
	}
}
