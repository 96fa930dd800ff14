package locktable

import (
	"context"
	"time"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/sys/fault"
	"github.com/godsm/godsm/shm/waitqueue"
)

// Upgrade makes the hold one in mode m as well as in its own: in the weakest mode that covers both. It goes before all
// that wait, and waits for other holders alone. If another holder waits for an upgrade that this one is in the way of,
// and would never end, it is ErrUpgrade at once, and the hold stays as it is: unlock it, and begin again. So it does
// in all other failures. What the lock guards may not have changed meanwhile: an upgrade never lets go.
func (x Hold) Upgrade(ctx context.Context, m Mode) error {
	h, err := x.useIn(m)
	if err != nil {
		return err
	}
	defer h.endUse()
	to := h.currentMode().Join(m)
	if to == h.currentMode() {
		return nil
	}
	if h.under != nil {
		return &WaitError{Name: h.key.String(), Mode: m, Err: ErrSelf}
	}
	for i, a := range h.above { // the parents' modes first
		switch intent := to.Intent(); {
		case a.hold != nil && !a.hold.currentMode().Covers(intent):
			return &WaitError{Name: h.key.parent(i + 1).String(), Mode: intent, Err: ErrSelf}
		case a.intent != nil && a.intent.mode != intent:
			now, err := h.t.intend(ctx, h.key.parent(i+1), intent, false)
			if err != nil {
				return err
			}
			a.intent.endUse(false)
			h.above[i].intent = now
		}
	}
	w := waiter{t: h.t, h: h, mode: to}
	if err := w.upgrade(ctx, to); err != nil || w.rec == nil {
		return err
	}
	return w.wait(ctx)
}

// useIn does what use does for one that wants another mode.
func (x Hold) useIn(m Mode) (*hold, error) {
	if m < IntentShared || m > Exclusive {
		return nil, invalid("mode %d", m)
	}
	return x.beginUse()
}

func (h *hold) currentMode() Mode {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.mode
}

// placeInQueue returns the hold as a queue knows it.
func (h *hold) placeInQueue() waitqueue.Ref {
	if h.rec == nil {
		return waitqueue.InPlace
	}
	return waitqueue.Ref(h.ref)
}

// upgrade changes the hold's mode, or puts the waiter before all others.
func (w *waiter) upgrade(ctx context.Context, to Mode) (err error) {
	t, h := w.t, w.h
	defer t.answer(&err, fault.Catch())
	u, err := t.enter(ctx, h.partition())
	if err != nil {
		return err
	}
	defer u.leave()
	q := u.queue(h.head, h.n)
	q.SlowLocked()
	w.own = h.placeInQueue()
	switch {
	case q.UpgradingLocked(h.currentMode(), to):
		err = &WaitError{Name: h.key.String(), Mode: to, Err: ErrUpgrade}
	case q.FitsLocked(to, waitqueue.First, w.own):
		h.convertLocked(to)
	default:
		w.bit.take(t)
		w.began = time.Now()
		w.ref, w.rec, err = u.recordLocked(waitqueue.StateOf(waitqueue.Waiting, to, h.number(), t.number())|waitqueue.Upgrading,
			0, w.bit.number())
		if err != nil {
			w.bit.release()
			break
		}
		w.rec.Extra.Store(uint64(w.own))
		w.noteBlockersLocked(u)
	}
	u.callWaiters()
	u.markDone()
	return err
}

// convertLocked changes the mode of the hold, by one store. It runs under the partition's lock; h.mu is taken inside.
func (h *hold) convertLocked(to Mode) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.mode = to
	if h.rec != nil {
		h.rec.Word.Store(uint64(h.rec.State().In(to)))
	} else {
		was := h.word
		h.word = was.In(to)
		h.head.lock.Convert(was, h.word)
	}
	failpoint.Hit("locktable/convert/stored")
}
