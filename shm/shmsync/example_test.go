package shmsync_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"sync"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/shm/shmsync"
	"github.com/godsm/godsm/supervisor"
)

// account lies in a segment, with the lock that guards it.
type account struct {
	Lock    shmsync.LWLockWord
	Balance int64
}

// A lock lies beside what it guards. Every process makes its own LWLock on the word.
func ExampleNewLWLock() {
	err := supervisor.Run(context.Background(), dsm.Config{}, func(ctx context.Context, s *dsm.Session) error {
		a, _, err := dsm.New[account](ctx, s, nil) // other processes: dsm.AttachAs[account]
		if err != nil {
			return err
		}
		lock := shmsync.NewLWLock(&a.Lock, s.Self())
		var wg sync.WaitGroup
		for range 4 { // goroutines of any processes
			wg.Go(func() {
				err := lock.Do(ctx, func() error { a.Balance += 25; return nil })
				if errors.Is(err, shmsync.ErrNotRecoverable) {
					log.Print("a process died with the lock: take it by Recover, and repair")
				}
			})
		}
		wg.Wait()
		g, err := lock.RLock(ctx)
		if err != nil {
			return err
		}
		defer g.Unlock()
		fmt.Println(a.Balance)
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output: 100
}

// A Mutex takes four bytes, and has one state: that it is held.
func ExampleNewMutex() {
	err := supervisor.Run(context.Background(), dsm.Config{}, func(ctx context.Context, s *dsm.Session) error {
		w, _, err := dsm.New[shmsync.MutexWord](ctx, s, nil)
		if err != nil {
			return err
		}
		m := shmsync.NewMutex(w, s.Self())
		g, err := m.Lock(ctx)
		if err != nil {
			return err
		}
		if dead, is := g.Abandoned(); is {
			log.Printf("session %v died with the lock", dead)
		}
		_, free := m.TryLock()
		fmt.Println("free while it is held:", free)
		g.Unlock()
		g, free = m.TryLock()
		fmt.Println("free afterwards:", free)
		g.Unlock()
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output:
	// free while it is held: false
	// free afterwards: true
}

// The owner of a latch waits until another process sets it, and then looks at what that has announced.
func ExampleNewLatch() {
	err := supervisor.Run(context.Background(), dsm.Config{}, func(ctx context.Context, s *dsm.Session) error {
		w, _, err := dsm.New[shmsync.LatchWord](ctx, s, nil)
		if err != nil {
			return err
		}
		l := shmsync.NewLatch(w, s.Self())
		if err := l.Own(); err != nil {
			return err
		}
		defer l.Disown()
		go shmsync.NewLatch(w, s.Self()).Set() // another process
		if err := l.Wait(ctx); err != nil {
			return err
		}
		l.Reset()
		fmt.Println("there may be news")
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output: there may be news
}

// Participants of any processes wait for one another, phase by phase.
func ExampleNewBarrier() {
	err := supervisor.Run(context.Background(), dsm.Config{}, func(ctx context.Context, s *dsm.Session) error {
		w, _, err := dsm.New[shmsync.BarrierWord](ctx, s, nil)
		if err != nil {
			return err
		}
		b := shmsync.NewBarrier(w, s.Self())
		for range 3 {
			if _, err := b.Attach(); err != nil {
				return err
			}
		}
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				elected, err := b.ArriveAndWait(ctx)
				if err == nil && elected {
					fmt.Println("one of three merges the results")
				}
				_, _ = b.Detach()
			})
		}
		wg.Wait()
		fmt.Println("phases:", b.Phase())
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output:
	// one of three merges the results
	// phases: 1
}
