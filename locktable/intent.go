package locktable

import (
	"context"
	"runtime"
	"sync/atomic"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/sys/ordered"
	"github.com/godsm/godsm/shm/waitqueue"
)

// intent is this session's hold of a parent in an intent mode, for all that it holds below it. When nothing is held
// below it the hold is idle: it stays, so that the next one below it costs a compare-and-swap of the session's own
// record, and another session that it is in the way of revokes it.
type intent struct {
	t    *Table
	key  key
	name string // in the table's intents
	mode Mode

	// uses says how many holds rest on it: see the constants below. A goroutine that has made it moving has hold to
	// itself until it stores another value, and until then waits for nothing but the table's mutex.
	uses atomic.Uint32
	hold *hold // in a record; nil: none
}

// The values of intent.uses. Above resting they count: resting+2 is two holds below the parent.
//
//	from     to                          by
//	none     moving, resting+1           a goroutine that has got a hold for the parent
//	resting  moving, resting+1 or none   a goroutine that takes a lock below it; none: the hold was revoked
//	above    one more, one less          the same, and one that gives it back
//	...+1    moving, resting             the one that gives back the last one below it
//	...+1    moving, none or gone        the same: another session waits for the parent, or there are too many intents
const (
	none    = iota // there is no hold
	gone           // there is none, and the intent is off the table's list, and not used again
	moving         // a goroutine changes the record of the hold
	resting        // there is a hold, which any session may revoke
)

// maxIntents is how many parents of a session have an intent that may be idle.
const maxIntents = 256

// intend gets an intent of a parent.
func (t *Table) intend(ctx context.Context, parent key, m Mode, try bool) (*intent, error) {
	i := t.intentOf(parent, m)
	if i.retake(false) {
		return i, nil
	}
	h := &hold{t: t, inRecord: true, mode: m}
	h.key, _ = encode(h.buf[:0], parent.path())
	h.ident = hash(h.key.b, t.seed)
	h.count.Store(1)
	if err := t.acquire(ctx, h, try); err != nil {
		return nil, err
	}
	for !i.adopt(h) {
		if i.retake(false) { // another goroutine was faster
			_ = h.endUse()
			return i, nil
		}
		i = t.intentOf(parent, m) // this one may be gone
	}
	return i, nil
}

// adopt makes h the hold of an intent that has none, and reports whether it has: for one use.
func (i *intent) adopt(h *hold) bool {
	if !i.uses.CompareAndSwap(none, moving) {
		return false
	}
	i.hold = h
	i.uses.Store(resting + 1)
	return true
}

// intentOf returns the intent of a parent, which need not be held.
func (t *Table) intentOf(parent key, m Mode) *intent {
	var few [MaxParts*(MaxPart+1) + 1]byte
	name := append(append(few[:0], byte(m)), parent.b...)
	t.mu.RLock()
	i := t.intents[string(name)]
	t.mu.RUnlock()
	if i != nil {
		return i
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if i = t.intents[string(name)]; i == nil {
		i = &intent{t: t, key: parent.kept(), name: string(name), mode: m}
		t.intents[i.name] = i
		t.crowded.Store(len(t.intents) > maxIntents)
	}
	return i
}

// retake takes the intent once more, if it is held or idle, and reports whether it has. A hold that another session has
// revoked is given back. Bare means, here and below, that the quick way of a Name calls, which has no fault scope: see
// Table.bare.
func (i *intent) retake(bare bool) bool {
	for {
		switch n := i.uses.Load(); {
		case n > resting:
			if i.uses.CompareAndSwap(n, n+1) {
				return true
			}
		case n == moving:
			runtime.Gosched()
		case n != resting:
			return false
		case i.uses.CompareAndSwap(resting, moving):
			if !i.t.view.Ended() && i.move(waitqueue.Idle, waitqueue.Held, bare) {
				failpoint.Hit("locktable/intent/awake")
				ordered.Store32(&i.uses, resting+1)
				return true
			}
			i.releaseMoving(none)
			return false
		}
	}
}

// move makes the record of the hold, which is of one kind, one of another, and reports whether it has. It is for a
// goroutine that has made the intent moving, which the end of the table waits for.
func (i *intent) move(from, to waitqueue.Kind, bare bool) bool {
	rec := i.hold.rec
	if bare {
		return move(rec, from, to)
	}
	return contained(func() bool { return move(rec, from, to) })
}

func move(rec *waitqueue.Record, from, to waitqueue.Kind) bool {
	s := rec.State()
	return s.Kind() == from && rec.Word.CompareAndSwap(uint64(s), uint64(s.With(to)))
}

// wanted reports whether another session waits for the hold, or its record is gone. It is for the same goroutine.
func (i *intent) wanted(bare bool) bool {
	rec := i.hold.rec
	if bare {
		return rec.Wanted()
	}
	return !contained(func() bool { return !rec.Wanted() })
}

// endUse ends the use of the intent by one hold below it.
func (i *intent) endUse(bare bool) {
	for {
		switch n := i.uses.Load(); {
		case n > resting+1:
			if i.uses.CompareAndSwap(n, n-1) {
				return
			}
		case i.uses.CompareAndSwap(resting+1, moving):
			i.rest(bare)
			return
		}
	}
}

// rest makes the hold idle, for the goroutine that has ended its last use and made the intent moving.
func (i *intent) rest(bare bool) {
	if i.t.view.Ended() {
		i.dropMoving(none)
		return
	}
	failpoint.Hit("locktable/intent/leaving")
	i.move(waitqueue.Held, waitqueue.Idle, bare)
	failpoint.Hit("locktable/intent/idle")
	switch {
	case i.unlistIfSurplus():
		i.releaseMoving(gone)
	case i.wanted(bare):
		i.releaseMoving(none)
	default:
		ordered.Store32(&i.uses, resting)
	}
}

// releaseMoving gives the hold back, which may block, after it has made the intent, which is moving, none or gone.
func (i *intent) releaseMoving(then uint32) {
	h := i.hold
	i.hold = nil
	i.uses.Store(then)
	_ = h.releaseShared()
	h.lease.Leave()
}

// dropMoving does the same after the end of the table's view: Close gives back what is in shared memory.
func (i *intent) dropMoving(then uint32) {
	i.hold.lease.Leave()
	i.hold = nil
	i.uses.Store(then)
}

// releaseAtEnd ends, after the end of the table's view, what this process has of an intent that no hold rests on. It
// waits until no goroutine is at the record. That takes one some instructions, and no call that blocks.
func (i *intent) releaseAtEnd() {
	for {
		switch n := i.uses.Load(); {
		case n == moving:
			runtime.Gosched()
		case n != resting:
			return
		case i.uses.CompareAndSwap(resting, moving):
			i.dropMoving(none)
			return
		}
	}
}

// unlistIfSurplus reports whether there are too many intents, and takes this one off their list then.
func (i *intent) unlistIfSurplus() bool {
	t := i.t
	if !t.crowded.Load() {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.intents, i.name)
	t.crowded.Store(len(t.intents) > maxIntents)
	return true
}
