package shmsync_test

import (
	"context"
	"testing"
	"time"

	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/shmsync"
)

// garbled is one word of each kind.
type garbled struct {
	Lock    shmsync.LWLockWord
	Barrier shmsync.BarrierWord
	Latch   shmsync.LatchWord
	Cond    shmsync.Cond
}

// FuzzGarbled: whatever a neighbour wrote over the words, calls end.
func FuzzGarbled(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{
		1, 2, 3, 4, 5, 6, 7, 8, 9,
		0, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
	})
	f.Fuzz(func(t *testing.T, data []byte) {
		b := make([]byte, 1024)
		escaped = b
		for i := range b {
			if len(data) > 0 {
				b[i] = data[i%len(data)]
			}
		}
		g, err := shm.At[garbled](shm.NewRegion(b), 0)
		if err != nil {
			t.Fatal(err)
		}
		me := shmsync.Peer{Row: 1, Incarnation: 1}
		self := shmsync.Self{Peer: me, Alive: func(p shmsync.Peer) bool { return p == me }}
		short, cancel := context.WithTimeout(ctx, 2*time.Millisecond)
		defer cancel()
		l := shmsync.NewLWLock(&g.Lock, self)
		_ = l.Status()
		for _, lock := range []func(context.Context) (shmsync.Guard, error){l.Lock, l.RLock} {
			if g, err := lock(short); err == nil {
				g.MarkConsistent()
				g.Unlock()
			}
		}
		bar := shmsync.NewBarrier(&g.Barrier, self)
		if _, err := bar.Attach(); err == nil {
			_, _ = bar.ArriveAndWait(short)
			_, _ = bar.Detach()
		}
		_ = bar.Participants()
		latch := shmsync.NewLatch(&g.Latch, self)
		_ = latch.Own()
		_ = latch.Wait(short)
		latch.Set()
		ticket := g.Cond.Prepare()
		_ = ticket.Sleep(short)
		ticket.Cancel()
	})
}

var escaped []byte
