// Command locks shows what happens to a lock whose holder is killed. Two processes move coins
// between the accounts of a bank that lies in a segment; one of them dies in the middle of a
// transfer, and the other repairs the books and goes on.
//
//	go run ./examples/locks
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"sync/atomic"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/parallel"
	"github.com/godsm/godsm/shm/shmsync"
	"github.com/godsm/godsm/shm/toc"
	"github.com/godsm/godsm/supervisor"
)

// bank lies in the segment. Everything but the lock, the barrier and the latch is guarded by the lock.
type bank struct {
	lock     shmsync.LWLockWord
	start    shmsync.BarrierWord
	attached shmsync.LatchWord
	accounts [8]int64
	giver    int64 // whose transfer is under way
	done     atomic.Int64
}

const (
	magic   = 0x62616e6b // what the segment holds
	keyBank = 1
	coins   = 1000 // in each account at first
	rounds  = 10000
)

// teller is one process at the bank.
type teller struct {
	*bank
	lock     *shmsync.LWLock
	start    *shmsync.Barrier
	attached *shmsync.Latch
	name     string
}

func newTeller(s *dsm.Session, b *bank, name string) teller {
	return teller{
		bank: b, name: name,
		lock:     shmsync.NewLWLock(&b.lock, s.Self()),
		start:    shmsync.NewBarrier(&b.start, s.Self()),
		attached: shmsync.NewLatch(&b.attached, s.Self()),
	}
}

// transfer moves coins. It writes down first whose they are, so that others can give them back.
func (t teller) transfer(ctx context.Context, from, to, amount int64, diesHere func()) error {
	g, err := t.lock.Lock(ctx)
	if err != nil {
		return err
	}
	defer g.Unlock()
	if g.Abandoned() {
		t.repair()
		g.MarkConsistent()
	}
	t.giver = from
	t.accounts[from] -= amount
	diesHere()
	t.accounts[to] += amount
	return nil
}

// repair undoes half a transfer: what is missing from the total belongs to the giver.
func (t teller) repair() {
	fmt.Printf("%s: the lock's holder died with it", t.name)
	if missing := coins*int64(len(t.accounts)) - t.sum(); missing != 0 {
		t.accounts[t.giver] += missing
		fmt.Printf("; account %d gets its %d coins back", t.giver, missing)
	}
	fmt.Println()
}

func (t teller) sum() (n int64) {
	for _, c := range t.accounts {
		n += c
	}
	return n
}

func (t teller) total(ctx context.Context) (int64, error) {
	g, err := t.lock.RLock(ctx)
	if err != nil {
		return 0, err
	}
	defer g.Unlock()
	if g.Abandoned() { // then it is exclusive
		t.repair()
		g.MarkConsistent()
	}
	return t.sum(), nil
}

// clumsy is the worker process: it dies in its last transfer.
var clumsy = parallel.Register("clumsy", func(ctx context.Context, w *parallel.Worker, h dsm.Handle) error {
	seg, err := w.Session.Attach(ctx, w.Owner, h)
	if err != nil {
		return err
	}
	contents, err := toc.Attach(seg.Region(), magic)
	if err != nil {
		return err
	}
	b, err := toc.Get[bank](contents, keyBank)
	if err != nil {
		return err
	}
	t := newTeller(w.Session, b, "the worker")
	if _, err := t.start.Attach(); err != nil {
		return err
	}
	t.attached.Set() // now the leader may arrive
	if _, err := t.start.ArriveAndWait(ctx); err != nil {
		return err
	}
	for i := range int64(rounds) {
		err := t.transfer(ctx, i%8, (i+3)%8, 1+i%5, func() {
			if i == rounds-1 {
				self, _ := os.FindProcess(os.Getpid())
				_ = self.Kill()
				select {} // until the signal arrives
			}
		})
		if err != nil {
			return err
		}
		t.done.Add(1)
	}
	return nil
})

func run(ctx context.Context, s *dsm.Session) error {
	var e toc.Estimator
	e.Keys(1)
	e.Chunk(1024) // holds a bank
	size, err := e.Size()
	if err != nil {
		return err
	}
	seg, err := s.Create(ctx, s.Owner(), size)
	if err != nil {
		return err
	}
	contents, err := toc.Create(seg.Region(), magic)
	if err != nil {
		return err
	}
	b, err := toc.Put(contents, keyBank, func(b *bank) error {
		for i := range b.accounts {
			b.accounts[i] = coins
		}
		return nil
	})
	if err != nil {
		return err
	}
	t := newTeller(s, b, "the leader")
	if err := errors.Join(t.attached.Own(), second(t.start.Attach())); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() {
		ended <- clumsy.Run(ctx, s, 1, seg.Handle())
		t.attached.Set() // if it never came so far
	}()

	if err := t.attached.Wait(ctx); err != nil {
		return err
	}
	if _, err := t.start.ArriveAndWait(ctx); err != nil {
		return err
	}
	fmt.Println("both begin")
	for i := int64(0); ; i++ {
		if err := t.transfer(ctx, (i+5)%8, i%8, 1+i%3, func() {}); err != nil {
			return err
		}
		select {
		case err := <-ended:
			fmt.Println("the worker's end:", err)
			total, err := t.total(ctx)
			if err != nil {
				return err
			}
			fmt.Printf("the worker made %d transfers; the bank has %d coins\n", t.done.Load(), total)
			if total != coins*8 {
				return fmt.Errorf("%d coins are missing", coins*8-total)
			}
			return nil
		default:
		}
	}
}

func second[T any](_ T, err error) error { return err }

func main() {
	parallel.Main() // in the worker this runs clumsy and never returns
	if err := supervisor.Run(context.Background(), dsm.Config{}, run); err != nil {
		log.Fatal(err)
	}
}
