package dsa

import (
	"context"
	"testing"

	"github.com/godsm/godsm/shm/shmsync"
)

// TestLeaveWithoutLock has a session leave while another one keeps the area's lock: once that is free, the others
// recover it as a dead one, though its session lives on, and what it had to itself goes back. A slot that another
// session has got in the meantime stays that session's.
func TestLeaveWithoutLock(t *testing.T) {
	self := func(row int) shmsync.Self {
		return shmsync.Self{Peer: shmsync.Peer{Row: row, Incarnation: 7}, Alive: func(p shmsync.Peer) bool {
			return p.Incarnation == 7
		}}
	}
	for _, taken := range []bool{false, true} {
		var heap Heap
		ctx := context.Background()
		a, err := Create(ctx, &heap, self(1), Options{Sessions: 4})
		if err != nil {
			t.Fatal(err)
		}
		b, err := Attach(ctx, &heap, self(2), a.Handle())
		if err != nil {
			t.Fatal(err)
		}
		OwnSpans(b)
		p, err := b.Alloc(1000)
		if err != nil {
			t.Fatal(err)
		}
		g, err := a.lockArea(ctx)
		if err != nil {
			t.Fatal(err)
		}
		other := self(3).Peer.Word()
		if taken {
			b.slots[b.slot].peer.Store(other)
		}
		over, cancel := context.WithCancel(ctx)
		cancel()
		if err := b.leaveSlot(over); err == nil {
			t.Error("a session has left without the lock, and says nothing")
		}
		g.Unlock()
		if w := b.slots[b.slot].peer.Load(); taken && w != other {
			t.Errorf("the slot of another session is %#x now", w)
		}
		if dead, err := a.Recover(ctx); err != nil || (dead != 1) != taken {
			t.Errorf("%d sessions recovered, %v", dead, err)
		}
		if st, err := a.Stats(ctx); err != nil || !taken && (st.Sessions != 1 || st.Classes[0].Kept != 0) {
			t.Errorf("%+v, %v", st, err)
		}
		if err := a.Free(p); err != nil {
			t.Error(err)
		}
	}
}
