package locktable

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/sys/fault"
	"github.com/godsm/godsm/internal/sys/ordered"
	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/dsa"
	"github.com/godsm/godsm/shm/roster"
	"github.com/godsm/godsm/shm/waitqueue"
)

// Hold is the right to unlock, once, in any goroutine. Its methods are safe for concurrent use. The zero Hold holds
// nothing.
type Hold struct {
	h   *hold
	seq uint32
}

// hold is what this process knows of a lock that it has, or asks for. It is used again when it has been unlocked: seq,
// which goes up then, tells a Hold whether it is still meant.
type hold struct {
	// What the quick way uses lies together.
	t        *Table
	kept     *Name // whose lock it is; nil: it was asked for by name
	head     *head
	word     waitqueue.Hold // the hold in place; 0: it is in rec
	owner    *Owner         // nil: none
	n        uint32         // the head's number
	seq      atomic.Uint32
	count    atomic.Int32 // this hold, those under it, and those below it in the path; 1 of one that is not in use
	mode     Mode
	plain    bool // of a kept name, in place
	inRecord bool // the hold is in rec in any case
	alone    bool // there was nothing beside the lock when it was taken in place
	ident    uint64
	key      key

	lease shm.Lease
	above [MaxParts - 1]above
	twin  *hold // of the owner's holds, the next one whose name has the same hash
	under *hold // the same owner's hold of the same lock, of which this one is a further use
	ref   roster.Ref
	rec   *waitqueue.Record
	mu    sync.Mutex // of mode, word and owner, when Upgrade, Downgrade or Under change them
	buf   [96]byte   // for key.b
}

// above is what a hold has of a parent of its name: an intent of the session, or the owner's own hold.
type above struct {
	intent *intent
	hold   *hold
}

func (h *hold) partition() int { return partOf(h.ident) }

func (h *hold) number() uint32 {
	if h.owner == nil {
		return 0
	}
	return h.owner.number
}

// beginUse keeps the hold from going until endUse.
func (x Hold) beginUse() (*hold, error) {
	h := x.h
	if h == nil {
		return nil, ErrNotHeld
	}
	for {
		n := h.count.Load()
		if n == 0 || h.seq.Load() != x.seq {
			return nil, fmt.Errorf("locktable: %w: it was unlocked before", ErrNotHeld)
		}
		if h.count.CompareAndSwap(n, n+1) {
			break
		}
	}
	if h.seq.Load() != x.seq { // Unlock, which looks at the count after it has changed seq, may have missed this use
		_ = h.endUse()
		return nil, fmt.Errorf("locktable: %w: it was unlocked meanwhile", ErrNotHeld)
	}
	if h.t.view.Ended() {
		_ = h.endUse()
		return nil, h.t.closed()
	}
	return h, nil
}

// withHold calls f with what the session holds of the lock. Neither Unlock nor Close gives it back meanwhile: f does
// not wait.
func (x Hold) withHold(f func(h *hold)) (err error) {
	h, err := x.beginUse()
	if err != nil {
		return err
	}
	defer h.endUse()
	err = h.t.withOwnRecords(func() {
		failpoint.Hit("locktable/look/inside")
		for h.under != nil {
			h = h.under
		}
		f(h)
	})
	if err != nil {
		return err
	}
	return h.t.view.Answer(nil)
}

// Unlock gives the lock back. A second call is ErrNotHeld, also when another goroutine has the lock by then. It waits
// for a millisecond at most: what is left to do behind a process that is stopped in the table is done later.
func (x Hold) Unlock() error {
	h := x.h
	if h == nil || !h.seq.CompareAndSwap(x.seq, x.seq+1) {
		return fmt.Errorf("locktable: %w: it was unlocked before", ErrNotHeld)
	}
	t := h.t
	if t.view.Ended() { // Close gives it back in shared memory
		h.endNamePhase()
		_ = h.endUse()
		return t.closed()
	}
	// Of a kept name, with nothing else to do: the count stays 1 for the next use.
	if h.plain && h.count.Load() == 1 {
		if h.owner != nil {
			h.owner.remove(h)
		}
		failpoint.Hit("locktable/unlock/ending")
		if h.tryGive() {
			if h.owner != nil {
				h.owner = nil
			}
			if h.key.n == 1 {
				h.endQuickUse(x.seq)
				return nil
			}
			var parents [MaxParts - 1]above // h's own stay as they are: the next use stores over them
			n := copy(parents[:], h.above[:h.key.n-1])
			h.endQuickUse(x.seq)
			dropAll(parents[:n], t.bare())
			return nil
		}
	}
	if h.kept != nil && h.lease == (shm.Lease{}) {
		lease, err := t.mapped.Enter()
		if err != nil {
			h.endNamePhase()
			return t.closed()
		}
		h.lease = lease
	}
	h.endNamePhase()
	if h.count.Load() > 1 {
		return h.endUse()
	}
	// No other use can begin since seq has changed: the count stays 1 for the next use.
	err := h.release()
	h.recycle()
	return err
}

// tryGive gives back a hold in place beside which there are no records, and reports whether it has.
func (h *hold) tryGive() bool {
	if h.t.bare() {
		return h.head.lock.TryGive(h.word)
	}
	return contained(func() bool { return h.head.lock.TryGive(h.word) })
}

// give gives back the hold in place, as Give of its head's lock does. With a lease of the bytes it needs none of the
// table's view: if Close has given the hold back the word is another one.
func (h *hold) give() (slow, was bool, err error) {
	t := h.t
	if h.lease == (shm.Lease{}) {
		err = t.withOwnRecords(func() { slow, was = h.head.lock.Give(h.word) })
		return slow, was, err
	}
	if t.view.Ended() {
		return false, false, t.closed()
	}
	defer t.answer(&err, fault.Catch())
	failpoint.Hit("locktable/give/inside")
	slow, was = h.head.lock.Give(h.word)
	return slow, was, nil
}

// endNamePhase ends, of a hold that a Name has for itself, the phase in which Close waits for it.
func (h *hold) endNamePhase() {
	if h.kept != nil {
		ordered.Store32(&h.seq, h.seq.Load()-ending+parting)
	}
}

// endUse ends one use of the hold. The last one gives the lock back; an error says that Close has done so, or that the
// bytes are gone.
func (h *hold) endUse() (err error) {
	if h.count.Add(-1) > 0 {
		return nil
	}
	err = h.release()
	h.count.Add(1) // not Store: an Upgrade of a hold that is over may be about to take back its own use
	h.recycle()
	return err
}

// release gives back what a hold of which no use is left has.
func (h *hold) release() (err error) {
	if h.under != nil {
		err = h.under.endUse()
	} else {
		h.owner.remove(h)
		err = h.releaseShared()
	}
	h.dropAbove()
	return err
}

// recycle makes the hold ready for the next use.
func (h *hold) recycle() {
	h.lease.Leave()
	h.lease, h.head, h.under, h.owner, h.rec, h.word, h.ref = shm.Lease{}, nil, nil, nil, nil, 0, 0
	h.plain, h.inRecord, h.alone = false, false, false
	if h.kept != nil {
		h.readyForQuick()
		return
	}
	h.t.pool.Put(h)
}

// releaseShared gives the lock back in shared memory.
func (h *hold) releaseShared() error {
	t := h.t
	if h.rec == nil {
		slow, was, err := h.give()
		if err != nil {
			return err
		}
		failpoint.Hit("locktable/give/given")
		if slow && was {
			t.withPartSoon(h.partition(), h.key.b, waitFor, func(u *turn, name []byte) {
				// Others may have called, and even have given the head to another name.
				if head, n, err := u.lookupLocked(name, hash(name, t.seed)); err == nil && head != nil {
					u.queue(head, n)
					u.callWaiters()
				}
			})
		}
	} else {
		rec, ref := h.rec, h.ref
		if err := t.voidRecord(rec); err != nil {
			return err
		}
		failpoint.Hit("locktable/give/gone")
		t.unlinkRecordSoon(h.partition(), h.head, h.n, ref, rec, waitFor)
	}
	if h.kept == nil {
		t.countReleased(h.partition())
	}
	return nil
}

// waitFor is how long a call that gives back waits for a partition's lock before it leaves the rest to a goroutine.
const waitFor = time.Millisecond

// idleHeads is how many names a partition may have before the head of an idle one is used for the next name. From
// twice as many on all idle ones are looked for.
const idleHeads = 24

// countReleased counts holds by name that were given back, and looks for idle heads when there may be many. A count that
// is lost to another goroutine is harmless.
func (t *Table) countReleased(part int) {
	l := &t.parts[part]
	n := l.gives.Load() + 1
	ordered.Store32(&l.gives, n)
	if n < idleHeads {
		return
	}
	var heads uint32
	if t.withOwnRecords(func() { heads = l.p.heads.Load() }) != nil {
		return
	}
	if heads >= 2*idleHeads && n < heads/4 {
		return
	}
	l.gives.Store(0)
	if heads < 2*idleHeads {
		return
	}
	defer fault.Ignore(fault.Catch())
	u, err := t.tryEnter(part, tryFor)
	if err != nil {
		return
	}
	defer u.leave()
	if u.collectLocked() == nil {
		u.markDone()
	}
}

// Under returns a context for what runs under this hold: with it the same lock is had again at once, in the same mode
// or one that it covers, and the lock is free when all are unlocked. Without an owner in ctx it makes one, without a
// note.
func (x Hold) Under(ctx context.Context) context.Context {
	h, err := x.beginUse()
	if err != nil {
		return ctx
	}
	defer h.endUse()
	for h.under != nil {
		h = h.under
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.t.scopeOf(ctx)
	o := h.owner
	if o == nil {
		if s != nil {
			o = s.owner
		} else {
			o = &Owner{t: h.t, holds: holds{}}
		}
		h.owner, h.plain = o, false // the owner is not noted in shared memory
		o.add(h)
	}
	return context.WithValue(ctx, scopeKey{h.t}, &scope{owner: o, under: h, outer: s})
}

// Repaired says that what the lock guards is whole again. It is for a holder that excludes others, and that Recovered
// has told of a death.
func (x Hold) Repaired() error {
	return x.withHold(func(h *hold) { h.head.died.Store(0) })
}

// Recovered reports whether a session died while it held the lock in a mode that writes, and no one has said Repaired
// since: what the lock guards may be half-written.
func (x Hold) Recovered() (d Death, yes bool) {
	err := x.withHold(func(h *hold) {
		w := h.head.died.Load()
		if yes = w != 0; !yes {
			return
		}
		d.Times, d.Below = int(w>>48), w&below != 0
		b, err := h.t.area.Bytes(dsa.Pointer(h.head.epitaph.Load()))
		if err == nil && len(b) == 8+2*noteBytes {
			d.Pid = int(binary.LittleEndian.Uint64(b))
			d.Application, d.Note = clean(b[8:8+noteBytes]), clean(b[8+noteBytes:])
		}
	})
	if err != nil {
		return Death{}, false
	}
	return d, yes
}

// Token returns a new token, later than all before.
func (x Hold) Token() (Token, error) { return x.stamped(func(*hold, uint64) {}) }

func (x Hold) stamped(f func(h *hold, n uint64)) (tok Token, err error) {
	err = x.withHold(func(h *hold) {
		tok = Token{h.t.id, h.t.root.stamp.Add(1)}
		failpoint.Hit("locktable/changed/stamped")
		f(h, tok.N)
	})
	return tok, err
}

// Downgrade makes the hold one in a weaker mode, without letting go. A mode that the hold's own does not cover is an
// error.
func (x Hold) Downgrade(m Mode) (err error) {
	h, err := x.useIn(m)
	if err != nil {
		return err
	}
	defer h.endUse()
	if h.under != nil || !h.currentMode().Covers(m) {
		return invalid("downgrade %s from %s to %s: it is not weaker, or another hold of the owner rests on it", h.key, h.currentMode(), m)
	}
	if h.count.Load() > 2 { // what is held below or under it rests on its mode
		return fmt.Errorf("locktable: downgrade %s: %w, and other holds of its rest on this one", h.key, ErrSelf)
	}
	defer h.t.answer(&err, fault.Catch())
	u, err := h.t.enter(context.Background(), h.partition())
	if err != nil {
		return err
	}
	defer u.leave()
	u.queue(h.head, h.n)
	h.convertLocked(m)
	u.callWaiters()
	u.markDone()
	return nil
}
