package locktable

import (
	"context"
	"sync"

	"github.com/godsm/godsm/internal/failpoint"
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

	mu    sync.Mutex
	count int   // of the holds below it
	hold  *hold // in a record; nil: none
	gone  bool  // it is off the table's list, and is not used again
}

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
	for ; ; i = t.intentOf(parent, m) {
		i.mu.Lock()
		switch {
		case i.gone:
			i.mu.Unlock()
			continue
		case i.count > 0 || i.wakeLocked(false): // another goroutine was faster
			i.count++
			i.mu.Unlock()
			_ = h.endUse()
			return i, nil
		}
		i.hold, i.count = h, 1
		i.mu.Unlock()
		return i, nil
	}
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

// retake takes the intent once more, if it is held or idle, and reports whether it has. Bare means, here and below, that
// the quick way of a Name calls, which has no fault scope: see Table.bare.
func (i *intent) retake(bare bool) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.count == 0 && !i.wakeLocked(bare) {
		return false
	}
	i.count++
	return true
}

// wakeLocked makes an idle hold one that is in use, and reports whether it has. One that another session has revoked
// goes. The caller holds i.mu.
func (i *intent) wakeLocked(bare bool) bool {
	if i.hold == nil || i.t.view.Ended() {
		return false
	}
	if i.move(waitqueue.Idle, waitqueue.Held, bare) {
		failpoint.Hit("locktable/intent/awake")
		return true
	}
	i.releaseHoldLocked()
	return false
}

// move makes the record of the hold, which is of one kind, one of another, and reports whether it has. It is for the
// caller that has i.mu, which the end of the table waits for.
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

// wanted reports whether another session waits for the hold, or its record is gone. It is for the same caller.
func (i *intent) wanted(bare bool) bool {
	rec := i.hold.rec
	if bare {
		return rec.Wanted()
	}
	return !contained(func() bool { return !rec.Wanted() })
}

// releaseHoldLocked gives, under i.mu, the hold back.
func (i *intent) releaseHoldLocked() {
	h := i.hold
	i.hold = nil
	_ = h.releaseShared()
	h.lease.Leave()
}

// endUse ends the use of the intent by one hold below it.
func (i *intent) endUse(bare bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.count--; i.count == 0 && i.hold != nil {
		if i.t.view.Ended() {
			i.closeLocked()
			return
		}
		failpoint.Hit("locktable/intent/leaving")
		i.move(waitqueue.Held, waitqueue.Idle, bare)
		failpoint.Hit("locktable/intent/idle")
		if i.wanted(bare) || i.unlistIfSurplus() {
			i.releaseHoldLocked()
		}
	}
}

// releaseAtEnd ends, after the end of the table's view, what this process has of an intent that no hold rests on.
// Close gives back what is in shared memory, once no goroutine is at it under i.mu.
func (i *intent) releaseAtEnd() {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.count == 0 {
		i.closeLocked()
	}
}

func (i *intent) closeLocked() {
	if i.hold != nil {
		i.hold.lease.Leave()
		i.hold = nil
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
	i.gone = true
	t.crowded.Store(len(t.intents) > maxIntents)
	return true
}
