package locktable

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync/atomic"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/sys/fault"
	"github.com/godsm/godsm/internal/sys/ordered"
	"github.com/godsm/godsm/internal/sys/spin"
	"github.com/godsm/godsm/shm/roster"
	"github.com/godsm/godsm/shm/waitqueue"
)

// Name is a lock that this process has looked up: to lock it takes no lookup, and where no one else is about neither the
// lock of its partition. Its methods are safe for concurrent use. The zero Name is closed.
type Name struct {
	// The pin, a record of the session, keeps the head the name's own. Only TryTake uses the head on the strength of the
	// pin alone, and only while the phase of own is taking: Release and Close set over, or end the view, and wait
	// until the phase is another one before they give the pin back. All that takes longer finds the head by its name,
	// under the partition's lock, and what is held or waited for keeps a head as it does without a Name.
	t    *Table
	head *head
	over atomic.Bool
	n    uint32           // the head's number
	near bool             // the table has it for itself
	path [MaxParts]string // of such a Name
	hash uint64           // of path
	own  hold             // for one use at a time: further ones have holds of their own
	spin spin.Budget      // for a holder in another process that gives back soon

	key   key
	ident uint64
	above [MaxParts - 1][2]*intent // of each parent, shared and exclusive
	ref   roster.Ref
	rec   *waitqueue.Record // the pin
}

// The phases of the hold that a Name has for itself, in the low bits of its seq; the bits above count its uses.
//
//	idle ---> taking ---> used ---> ending ---> idle
//	  |         ^          ^ |         |
//	  +---------|----------+ |         v
//	            +------------+      parting ---> idle
const (
	idle    = iota // no goroutine uses the hold
	taking         // a goroutine is about to take the lock by the pinned head. It does not block
	used           // the lock is held, or waited for
	ending         // a goroutine gives the lock back by the head that the hold keeps. It does not block
	parting        // the same under the partition's lock, with a lease
	phases  = 7
)

// Name looks up a lock, and keeps it in memory until Release or Close.
func (t *Table) Name(ctx context.Context, path ...string) (n *Name, err error) {
	if t.view.Ended() {
		return nil, t.closed()
	}
	k, err := encode(nil, path)
	if err != nil {
		return nil, err
	}
	n = t.newName(k, hash(k.b, t.seed))
	defer t.answer(&err, fault.Catch())
	u, err := t.enter(ctx, partOf(n.ident))
	if err != nil {
		return nil, err
	}
	defer u.leave()
	h, at, err := u.lookupLocked(k.b, n.ident)
	if err == nil && h == nil {
		h, at, err = u.makeLocked(k.b, n.ident)
	}
	if err == nil {
		err = u.pinLocked(n, h, at)
	}
	if err != nil {
		return nil, err
	}
	u.markDone()
	return n, nil
}

// newName returns a Name that has no pin yet.
func (t *Table) newName(k key, ident uint64) *Name {
	n := &Name{t: t, key: k, ident: ident}
	n.own.t, n.own.kept, n.own.ident, n.own.key = t, n, ident, k
	n.own.count.Store(1)
	n.own.seq.Store(rand.Uint32() &^ phases) // no word of a hold is that of an earlier Name's
	for i := range k.n - 1 {
		for x, m := range [...]Mode{IntentShared, IntentExclusive} {
			n.above[i][x] = t.intentOf(k.parent(i+1), m)
		}
	}
	return n
}

// pinLocked pins the head of a name. It runs under the partition's lock.
func (u *turn) pinLocked(n *Name, h *head, at uint32) (err error) {
	u.queue(h, at)
	n.ref, n.rec, err = u.recordLocked(waitqueue.StateOf(waitqueue.Pinned, 0, 0, u.t.number()), u.t.root.tickets.Add(1), 0)
	if err != nil {
		return err
	}
	n.head, n.n = h, at
	n.own.readyForQuick()
	u.t.names.add(n)
	return nil
}

// forgetNameLocked takes a head's name away. It runs under the partition's lock.
func (u *turn) forgetNameLocked(n uint32, h *head) error {
	if c := h.changed.Load(); c > u.p.floor.Load() {
		u.p.floor.Store(c)
	}
	failpoint.Hit("locktable/forget/floor")
	ordered.Store32(&h.kind, 0)
	failpoint.Hit("locktable/forget/nameless")
	if err := u.dropLocked(n, longAt, &h.long); err != nil {
		return err
	}
	return u.dropLocked(n, epitaphAt, &h.epitaph)
}

// Lock does what Table.Lock does.
func (n *Name) Lock(ctx context.Context, m Mode) (Hold, error) {
	if n.t == nil || n.over.Load() {
		return Hold{}, n.closed()
	}
	return n.lock(ctx, m, false)
}

// TryLock does what Table.TryLock does.
func (n *Name) TryLock(ctx context.Context, m Mode) (Hold, error) {
	if n.t == nil || n.over.Load() {
		return Hold{}, n.closed()
	}
	return n.lock(ctx, m, true)
}

// lock locks the name. It does so also after Release, by what the name is.
func (n *Name) lock(ctx context.Context, m Mode, try bool) (Hold, error) {
	t := n.t
	if (m == Exclusive || m == Shared) && t.scopeOf(ctx) == nil {
		if h, ok := n.quick(m, !try); ok {
			return h, nil
		}
	}
	if t.view.Ended() {
		return Hold{}, t.closed()
	}
	h := &n.own
	seq := h.seq.Load()
	if seq&phases != idle || !h.seq.CompareAndSwap(seq, seq+used) {
		return t.lockAs(ctx, n.key, n.ident, m, try)
	}
	h.plain = false
	if n.key.n > 1 {
		h.above = [MaxParts - 1]above{} // what the last use has left
	}
	if err := t.lockKey(ctx, h, n.key, n.ident, m, try); err != nil {
		h.recycle()
		return Hold{}, err
	}
	return Hold{h, seq + used}, nil
}

// quick takes the lock, Shared or Exclusive and for no owner, with the name's own hold and without a partition's lock.
// It reports whether it did: not if anyone holds the lock or waits for it, or the session has no intent of a parent. If
// it spins it gives a holder that is in place some microseconds to let go.
func (n *Name) quick(m Mode, spins bool) (Hold, bool) {
	if n.key.n > 1 && !n.intend(m) {
		return Hold{}, false
	}
	h := &n.own
	seq := h.seq.Load()
	if seq&phases == idle && h.seq.CompareAndSwap(seq, seq+taking) {
		h.word = waitqueue.HoldOf(n.t.self.Row, m, 0, seq>>3)
		if n.takeTaking(h.word, spins) {
			h.mode = m
			if n.key.n > 1 {
				for i := range n.key.n - 1 {
					h.above[i] = above{intent: n.above[i][sideOf(m)]}
				}
			}
			ordered.Store32(&h.seq, seq+used)
			return Hold{h, seq + used}, true
		}
		h.word = 0
		h.endQuickUse(seq)
	}
	if n.key.n > 1 {
		n.leaveIntents(m)
	}
	return Hold{}, false
}

// takeTaking takes the lock in place, and reports whether it was free, the name not released and the table not closed.
// The phase of the name's own hold is taking, stored before by an operation that is ordered before the loads here.
func (n *Name) takeTaking(word waitqueue.Hold, spins bool) bool {
	if n.over.Load() || n.t.view.Ended() {
		return false
	}
	failpoint.Hit("locktable/name/taking")
	if n.bare() {
		return n.head.lock.TryTake(word) || spins && n.takeSoon(word)
	}
	return contained(func() bool { return n.head.lock.TryTake(word) || spins && n.takeSoon(word) })
}

// takeSoon reports whether it has taken the lock in place: if the holder gave it back in some microseconds, and no process
// waits in the queue. To put a waiter to sleep and to wake it up costs more than that. All rounds together are shorter
// than a waiter's patience, so that others go before this one for no longer than they would in the queue.
func (n *Name) takeSoon(word waitqueue.Hold) bool {
	const rounds = 8
	lock := &n.head.lock
	for range rounds {
		free := n.spin.Unless(func() (free, stop bool) {
			w := waitqueue.Hold(lock.Word.Load())
			return w == 0, w&waitqueue.Slow != 0 || n.over.Load() || n.t.view.Ended()
		})
		if !free {
			return false
		}
		if lock.TryTake(word) {
			return true
		}
	}
	return false
}

// takeInPhase does what takeTaking does for the name's own hold in the phase used, and reports the same.
func (n *Name) takeInPhase(word waitqueue.Hold, spins bool) bool {
	seq := n.own.seq.Add(^uint32(0)) // used to taking
	taken := n.takeTaking(word, spins)
	ordered.Store32(&n.own.seq, seq+1)
	return taken
}

// bare reports whether the quick way goes without a fault scope: see Table.bare. That of a Name of the table's own never
// does, since its caller has asked for a lock by a path, and does not know that there is a Name.
func (n *Name) bare() bool { return !n.near && n.t.bare() }

// sideOf returns the number of the intents of a Name that a mode needs.
func sideOf(m Mode) int {
	if m == Exclusive {
		return 1
	}
	return 0
}

// intend takes the intents of the name's parents, and reports whether this session has them all.
func (n *Name) intend(m Mode) bool {
	for i := range n.key.n - 1 {
		if !n.above[i][sideOf(m)].retake(n.bare()) {
			for j := range i {
				n.above[j][sideOf(m)].endUse(n.bare())
			}
			return false
		}
	}
	return true
}

func (n *Name) leaveIntents(m Mode) {
	for i := range n.key.n - 1 {
		n.above[i][sideOf(m)].endUse(n.bare())
	}
}

// readyForQuick makes the hold that a Name has for itself ready for quick.
func (h *hold) readyForQuick() {
	h.head, h.n, h.plain = h.kept.head, h.kept.n, true
	h.endQuickUse(h.seq.Load())
}

// endQuickUse ends a use of such a hold, which is ready for quick.
func (h *hold) endQuickUse(seq uint32) { ordered.Store32(&h.seq, (seq|phases)+1) }

// Release ends the use of the name, which its holds outlive. Releasing twice is harmless.
func (n *Name) Release() {
	if n.t == nil || n.over.Swap(true) {
		return
	}
	n.waitHeadUnused()
	n.t.names.remove(n)
	n.unpin()
}

// waitHeadUnused waits, after over was set or the view ended, until no goroutine uses the head without another right
// to it than the pin. That takes it some instructions, and no call that blocks.
func (n *Name) waitHeadUnused() {
	for p := n.own.seq.Load() & phases; p == taking || p == ending; p = n.own.seq.Load() & phases {
		runtime.Gosched()
	}
}

// unpin gives the pin back.
func (n *Name) unpin() {
	if n.t.voidRecord(n.rec) == nil { // else Close gives it back
		n.t.unlinkRecordSoon(partOf(n.ident), n.head, n.n, n.ref, n.rec, waitFor)
	}
}

func (n *Name) closed() error {
	if n.t == nil || !n.t.view.Ended() {
		return fmt.Errorf("locktable: the name was released: %w", ErrClosed)
	}
	return n.t.closed()
}

// isOfPath reports whether a Name that the table has for itself is of a path.
func (n *Name) isOfPath(path []string) bool {
	if len(path) != n.key.n {
		return false
	}
	for i, part := range path {
		if part != n.path[i] {
			return false
		}
	}
	return true
}

// releaseIfUnused releases a Name that the table has for itself, and reports whether it did: not if it is in use.
func (n *Name) releaseIfUnused() bool {
	seq := n.own.seq.Load()
	if seq&phases != idle || !n.own.seq.CompareAndSwap(seq, seq+used) { // for ever: a goroutine that has found it goes another way
		return false
	}
	n.Release()
	return true
}
