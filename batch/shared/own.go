package shared

import (
	"context"
	"math/bits"
	"sync"
	"time"

	"github.com/godsm/godsm/batch"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/shm/shmsync"
)

// own is what a session has of the slots: blocks, and which of their slots are free. No other session uses these.
type own struct {
	m *memory

	mu      sync.Mutex
	blocks  []mine
	bits    map[int]shmsync.Bit // of slots that have been in use
	waiting []chan int          // callers that wait for a slot, in their order
	used    int                 // slots that are not free
	order   uint64
	closed  bool
	hungry  bool // it has told others that it waits for its first block
}

type mine struct {
	block int
	owner uint64 // the word
	free  uint32
}

// A place is a slot for a command of this session, the slot's bit in the session's mailbox, and the command's number.
type place struct {
	slot  int
	bit   shmsync.Bit
	order uint64
}

// acquire returns a slot that is free. It blocks while there is none, unless full is batch.Fail.
func (o *own) acquire(ctx context.Context, full batch.Full) (p place, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	slot, err := o.acquireLocked(ctx, full)
	if err != nil {
		return p, err
	}
	bit, ok := o.bits[slot]
	if !ok {
		bit = o.m.self.Mailbox.Take()
		o.bits[slot] = bit
	}
	o.order++
	return place{slot, bit, o.order}, nil
}

// acquireLocked searches and waits for acquire, under mu, which is unlocked while it waits.
func (o *own) acquireLocked(ctx context.Context, full batch.Full) (slot int, err error) {
	for {
		if o.closed {
			return 0, errClosed
		}
		if len(o.waiting) == 0 {
			if slot, ok := o.freeLocked(); ok {
				return slot, nil
			}
		}
		if len(o.waiting) == 0 || len(o.blocks) == 0 {
			if err := o.growLocked(); err != nil {
				return 0, err
			}
			o.dealLocked()
			if slot, ok := o.freeLocked(); ok {
				return slot, nil
			}
		}
		if full == batch.Fail {
			return 0, batch.ErrFull
		}
		turn := make(chan int, 1)
		o.waiting = append(o.waiting, turn)
		first := len(o.blocks) == 0
		o.mu.Unlock()
		slot, ok := o.awaitSlot(ctx, turn, first)
		o.mu.Lock()
		if ok {
			return slot, nil
		}
		if !o.forgetLocked(turn) { // a slot has come meanwhile, or the queue is closed
			if slot, ok := <-turn; ok {
				return slot, nil
			}
		}
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
	}
}

// awaitSlot waits for a slot that another caller of this session gives back; where the session has none yet, it looks from time
// to time whether others have given back a block.
func (o *own) awaitSlot(ctx context.Context, turn chan int, first bool) (slot int, ok bool) {
	var again <-chan time.Time
	if first {
		t := time.NewTimer(5 * time.Millisecond)
		defer t.Stop()
		again = t.C
	}
	select {
	case slot, ok = <-turn:
		return slot, ok
	case <-again:
	case <-ctx.Done():
	}
	return 0, false
}

// dealLocked gives free slots to those that wait, under mu.
func (o *own) dealLocked() {
	for len(o.waiting) > 0 {
		slot, ok := o.freeLocked()
		if !ok {
			return
		}
		o.waiting[0] <- slot
		o.waiting = o.waiting[1:]
	}
}

// forgetLocked takes a caller off the list, under mu. It reports false if the caller is not on it any more.
func (o *own) forgetLocked(turn chan int) bool {
	for i, t := range o.waiting {
		if t == turn {
			o.waiting = append(o.waiting[:i], o.waiting[i+1:]...)
			return true
		}
	}
	return false
}

// freeLocked takes a free slot of the session's blocks, under mu.
func (o *own) freeLocked() (slot int, ok bool) {
	for i := range o.blocks {
		b := &o.blocks[i]
		if b.free != 0 {
			k := bits.TrailingZeros32(b.free)
			b.free &^= 1 << k
			o.used++
			return b.block*perBlock + k, true
		}
	}
	return 0, false
}

// growLocked takes one more block, under mu, if there is one and the session has not got its share: half of all, and not
// more than twice what each would have.
func (o *own) growLocked() error {
	return o.m.contained(func() error {
		me := o.m.self.Peer
		users := map[shmsync.Peer]bool{me: true}
		for i := range o.m.blocks {
			if p := peerOf(o.m.blocks[i].owner.Load()); p.Row >= 0 {
				users[p] = true
			}
		}
		all := len(o.m.blocks)
		if len(o.blocks) >= max(1, min(all/2, 2*all/(len(users)+1))) {
			return nil
		}
		for i := range all {
			b := (me.Row + i) % all
			w := o.m.blocks[b].owner.Load()
			owner := ownerOf(me, w)
			if peerOf(w).Row >= 0 || !o.m.blocks[b].owner.CompareAndSwap(w, owner) {
				continue
			}
			failpoint.Hit("batch/block/taken")
			if o.hungry {
				o.hungry = false
				o.m.head.short.Add(^uint32(0))
			}
			o.m.blocks[b].orphan.Store(0)
			o.blocks = append(o.blocks, mine{b, owner, 1<<perBlock - 1})
			return nil
		}
		if len(o.blocks) == 0 && !o.hungry {
			o.hungry = true
			o.m.head.short.Add(1)
		}
		return nil
	})
}

// release takes a slot back whose word is free.
func (o *own) release(slot int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.waiting) > 0 {
		o.waiting[0] <- slot
		o.waiting = o.waiting[1:]
		return
	}
	o.used--
	for i := range o.blocks {
		b := &o.blocks[i]
		if b.block == slot/perBlock {
			b.free |= 1 << (slot % perBlock)
			if b.free == 1<<perBlock-1 && (o.closed || len(o.blocks) > 1 && o.m.waitsForBlock()) {
				o.yieldLocked(i)
			}
			return
		}
	}
}

// yieldLocked gives a block back, under mu, of which no slot is in use.
func (o *own) yieldLocked(i int) {
	b, owner := o.blocks[i].block, o.blocks[i].owner
	for s := b * perBlock; s < (b+1)*perBlock; s++ {
		if bit, ok := o.bits[s]; ok {
			bit.Release()
			delete(o.bits, s)
		}
	}
	o.blocks = append(o.blocks[:i], o.blocks[i+1:]...)
	_ = o.m.contained(func() error {
		failpoint.Hit("batch/block/yielding")
		o.m.blocks[b].owner.CompareAndSwap(owner, ownerless(owner))
		return nil
	})
}

// waitsForBlock reports whether sessions wait for their first block.
func (m *memory) waitsForBlock() (short bool) {
	_ = m.contained(func() error { short = m.head.short.Load() != 0; return nil })
	return short
}

// close lets no more commands in, and gives back the blocks that are not in use. Those that are go when their last slot
// does, or are left to the leader.
func (o *own) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	for _, turn := range o.waiting {
		close(turn)
	}
	o.waiting = nil
	if o.hungry {
		o.hungry = false
		_ = o.m.contained(func() error { o.m.head.short.Add(^uint32(0)); return nil })
	}
	for i := len(o.blocks) - 1; i >= 0; i-- {
		if o.blocks[i].free == 1<<perBlock-1 {
			o.yieldLocked(i)
		}
	}
}

// abandon leaves the blocks that are still in use to the leader.
func (o *own) abandon() {
	o.mu.Lock()
	defer o.mu.Unlock()
	_ = o.m.contained(func() error {
		for _, b := range o.blocks {
			o.m.blocks[b.block].orphan.Store(1)
		}
		return nil
	})
}

// inUse returns how many slots are not free.
func (o *own) inUse() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.used
}
