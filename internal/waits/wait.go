package waits

import (
	"context"
	"sync/atomic"
	"time"
)

// Wait is one goroutine's place among its session's Waits. It is the one way in which anything of this module waits for
// another session: all loops of this package, of mq, dsmnet and registry are of the form
//
//	w := waits.Wait{Waits: self.Waits}
//	defer w.End()
//	for {
//		// store that the goroutine sleeps; look; return if the wait is over
//		w.Sleep(ctx, func(ctx context.Context, d time.Duration) {
//			// sleep while what was stored stands, until ctx is over, for at most d
//		}, peer)
//		// ask whether peer lives
//	}
//
// A Wait with Stay set is for a structure that waits often, and is kept with it; such a one calls Join, InDoubt and
// TakeDoubt itself. The exported fields are set before its use. A Wait is not copied.
type Wait struct {
	Waits *Waits // of the session; nil: the goroutine asks from time to time

	// Stay: the place is kept from the first Join to End, and Wake ends the sleep.
	Stay bool
	// Wake makes the goroutine look again, whether it sleeps or is about to. It must not block. The watcher calls it.
	Wake func()
	// Late reports, at each beat, whether the goroutine may have missed something. It must not block. Without it the
	// goroutine looks again at each beat.
	Late func() bool

	began time.Time     // the first Sleep of this wait
	nap   time.Duration // how long the next sleep is, while there is no place
	at    atomic.Uint64 // the peer that the place is for, plus one; 0: there is no place
	doubt atomic.Bool   // whether that lives is to be asked

	others []*Wait // places for more peers

	// Under Waits.mu.
	in         *group
	next, prev *Wait
	cancel     context.CancelFunc
	ended      bool
}

// A wait that lasts less than brief asks after firstNap, then more rarely, up to every lastNap: most waits are over by
// then, and a place would cost more. From then on it has a place, where there is a watcher.
const (
	brief    = 15 * time.Millisecond
	firstNap = time.Millisecond
	lastNap  = 8 * time.Millisecond
)

// longest is what bounds a sleep of one that is woken.
const longest = 24 * time.Hour

// Sleep sleeps, by the function that it is given, until what was looked at may have changed, one of the peers may have
// died, a session has died, or ctx is over. It may return early for no reason. The caller looks again, and asks
// whether the peers live. Each call may name others, or none.
func (w *Wait) Sleep(ctx context.Context, sleep func(ctx context.Context, d time.Duration), peers ...uint64) {
	if w.nap == 0 {
		w.began, w.nap = time.Now(), firstNap
	}
	if time.Since(w.began) < brief || !w.joinAll(peers) {
		sleep(ctx, withinDeadline(ctx, w.nap))
		w.nap = min(2*w.nap, lastNap)
		return
	}
	if w.TakeDoubt() {
		return
	}
	short, cancel := context.WithCancel(ctx)
	defer cancel()
	if w.setCancel(cancel) {
		sleep(short, longest)
		w.setCancel(nil)
	}
	w.TakeDoubt()
}

// joinAll gives the wait a place for each of the peers, or one for none in particular. It reports whether a watcher
// wakes it at all of them: if not, the caller asks from time to time.
func (w *Wait) joinAll(peers []uint64) bool {
	if len(peers) == 0 {
		return w.Join(none)
	}
	for len(w.others) < len(peers)-1 {
		w.others = append(w.others, &Wait{Waits: w.Waits, Stay: true, Wake: w.doubtLocked})
	}
	ok := w.Join(peers[0])
	for i, o := range w.others {
		if i+1 >= len(peers) {
			ok = o.Join(none) && ok
			continue
		}
		if ok = o.Join(peers[i+1]) && ok; o.TakeDoubt() {
			w.doubt.Store(true)
		}
	}
	return ok
}

// setCancel has the watcher end the sleep that is about to begin by cancel, and reports whether there is to be a
// sleep: not if the place is in doubt already. With nil the sleep is over.
func (w *Wait) setCancel(cancel context.CancelFunc) bool {
	ws := w.Waits
	ws.mu.Lock()
	defer ws.mu.Unlock()
	w.cancel = cancel
	return !w.doubt.Load()
}

// Join gives the wait a place for peer, if it has none. It reports false where no goroutine would wake it: then the
// caller asks from time to time. A place that is new is in doubt.
func (w *Wait) Join(peer uint64) bool {
	ws := w.Waits
	if ws == nil {
		return false
	}
	at := peer + 1 // 0 is no place
	if w.at.Load() == at {
		return true
	}
	fresh, want, ok := w.join(ws, peer, at)
	if fresh != nil {
		ws.followGroup(fresh)
	}
	if want {
		ws.want()
	}
	return ok
}

func (w *Wait) join(ws *Waits, peer uint64, at uint64) (fresh *group, want, ok bool) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if ws.over || w.ended {
		return nil, false, false
	}
	fresh = ws.joinLocked(w, peer)
	w.doubt.Store(true)
	w.at.Store(at)
	if !w.Stay && !ws.wanted {
		ws.wanted, want = true, true
	}
	return fresh, want, true
}

// InDoubt reports whether the peer may have died since TakeDoubt.
func (w *Wait) InDoubt() bool { return w.doubt.Load() }

// TakeDoubt reports whether the peer may have died, and takes note that the caller asks for it now.
func (w *Wait) TakeDoubt() bool { return w.doubt.Load() && w.doubt.Swap(false) }

// End gives the place back.
func (w *Wait) End() {
	ws := w.Waits
	if ws == nil {
		return
	}
	if w.at.Load() == 0 && !w.Stay { // only its own goroutine gives such a one a place
		return
	}
	for _, o := range w.others {
		o.End()
	}
	ws.mu.Lock()
	defer ws.mu.Unlock()
	w.ended = true
	w.at.Store(0)
	w.leaveGroupLocked()
}

// doubtLocked marks that the wait has to ask for its peer, and ends its sleep. The caller holds the mu of w.Waits.
func (w *Wait) doubtLocked() {
	w.doubt.Store(true)
	w.wakeLocked()
}

// wakeLocked ends the wait's sleep, in the way that was given for it. The caller holds the mu of w.Waits.
func (w *Wait) wakeLocked() {
	switch {
	case w.Wake != nil:
		w.Wake()
	case w.cancel != nil:
		w.cancel()
	}
}

// leaveGroupLocked takes the wait out of its group, if it is in one. The caller holds the mu of w.Waits.
func (w *Wait) leaveGroupLocked() {
	g := w.in
	if g == nil {
		return
	}
	if w.prev == nil {
		g.first = w.next
	} else {
		w.prev.next = w.next
	}
	if w.next != nil {
		w.next.prev = w.prev
	}
	w.in, w.next, w.prev = nil, nil, nil
	delete(w.Waits.brief, w)
}

// withinDeadline returns d, or less if ctx ends earlier.
func withinDeadline(ctx context.Context, d time.Duration) time.Duration {
	if end, ok := ctx.Deadline(); ok {
		return max(min(d, time.Until(end)), 0)
	}
	return d
}
