package locktable

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/godsm/godsm/internal/sys/fault"
	"github.com/godsm/godsm/internal/sys/ordered"
	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/roster"
	"github.com/godsm/godsm/shm/waitqueue"
)

// Name is a lock that this process has looked up: to lock it takes no lookup, and where no one else is about neither the
// lock of its partition. Its methods are safe for concurrent use. The zero Name is closed.
type Name struct {
	t     *Table
	key   key
	ident uint64
	head  *head
	n     uint32
	ref   roster.Ref
	rec   *waitqueue.Record
	own   hold          // for one use at a time: further ones have holds of their own
	busy  atomic.Uint32 // 1 while own is in use
	over  atomic.Bool
	above [MaxParts - 1][2]*intent // of each parent, shared and exclusive
}

// Name looks up a lock, and keeps it in memory until Release. A table that has had a Name in this process stays mapped here
// after Close, until the end of the session.
func (t *Table) Name(ctx context.Context, path ...string) (n *Name, err error) {
	if t.view.Ended() {
		return nil, t.closed()
	}
	k, err := encode(nil, path)
	if err != nil {
		return nil, err
	}
	n = &Name{t: t, key: k, ident: hash(k.b, t.seed)}
	n.own.t, n.own.kept, n.own.ident, n.own.key = t, n, n.ident, k
	n.own.count.Store(1)
	for i := range k.n - 1 {
		for x, m := range [...]Mode{IntentShared, IntentExclusive} {
			n.above[i][x] = t.intentOf(k.parent(i+1), m)
		}
	}
	u, err := t.enter(ctx, partOf(n.ident))
	if err != nil {
		return nil, err
	}
	defer fault.Return(&err, fault.Catch())
	defer u.leave()
	if n.head, n.n, err = u.lookupLocked(k.b, n.ident); err == nil && n.head == nil {
		n.head, n.n, err = u.makeLocked(k.b, n.ident)
	}
	if err != nil {
		return nil, err
	}
	u.queue(n.head, n.n)
	n.ref, n.rec, err = u.recordLocked(waitqueue.StateOf(waitqueue.Pinned, 0, 0, t.number()), t.root.tickets.Add(1), 0)
	if err != nil {
		return nil, err
	}
	if !t.kept { // never given back: a Lock may be on its way when the table is closed
		t.kept = true
		u.lease = shm.Lease{}
	}
	u.ok()
	return n, nil
}

// Lock is Table.Lock.
func (n *Name) Lock(ctx context.Context, m Mode) (Hold, error) { return n.lock(ctx, m, false) }

// TryLock is Table.TryLock.
func (n *Name) TryLock(ctx context.Context, m Mode) (Hold, error) { return n.lock(ctx, m, true) }

func (n *Name) lock(ctx context.Context, m Mode, try bool) (Hold, error) {
	t := n.t
	if t == nil || n.over.Load() || t.view.Ended() {
		return Hold{}, n.closed()
	}
	h := &n.own
	if !n.busy.CompareAndSwap(0, 1) {
		h = &hold{t: t, kept: n, ident: n.ident, key: n.key}
		h.count.Store(1)
	}
	seq := h.seq.Load()
	if (m == Exclusive || m == Shared) && t.scopeOf(ctx) == nil && n.intend(h, m) {
		h.word = waitqueue.HoldOf(t.self.Row, m, 0, seq)
		if n.head.lock.TryTake(h.word) {
			h.head, h.n, h.mode, h.plain = n.head, n.n, m, true
			if t.view.Ended() {
				return Hold{}, t.stillOpen(h)
			}
			return Hold{h, seq}, nil
		}
		h.word = 0
		h.dropAbove()
	}
	h.head, h.n, h.plain = n.head, n.n, false
	if err := t.lockKey(ctx, h, n.key, n.ident, m, try); err != nil {
		h.recycle()
		return Hold{}, err
	}
	return Hold{h, seq}, nil
}

// intend takes the intents of the name's parents, if this session has them.
func (n *Name) intend(h *hold, m Mode) bool {
	x := 0
	if m == Exclusive {
		x = 1
	}
	for i := range n.key.n - 1 {
		if !n.above[i][x].again() {
			h.dropAbove()
			return false
		}
		h.above[i].intent = n.above[i][x]
	}
	return true
}

// free makes a hold of the name ready for the next use, if that is the name's own.
func (n *Name) free(h *hold) {
	if h == &n.own {
		ordered.Store32(&n.busy, 0)
	}
}

// Release ends the use of the name, which its holds outlive. Releasing twice is harmless.
func (n *Name) Release() {
	if n.t == nil || n.over.Swap(true) || n.t.view.Ended() {
		return
	}
	rec, ref, head, number := n.rec, n.ref, n.head, n.n
	rec.Word.Store(uint64(rec.State().With(waitqueue.Gone)))
	n.t.soon(partOf(n.ident), nil, func(u *turn, _ []byte) { u.endLocked(head, number, ref, rec) })
}

func (n *Name) closed() error {
	if n.t == nil || !n.t.view.Ended() {
		return fmt.Errorf("locktable: the name was released: %w", ErrClosed)
	}
	return n.t.closed()
}
