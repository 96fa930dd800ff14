package dsa

import (
	"context"
	"errors"

	"github.com/godsm/godsm/shm/shmsync"
)

// Detach ends this session's use of the area: the spans that it had to itself go back, and all segments are unmapped.
// The last session that detaches removes the area, unless it is pinned. Objects stay allocated. Detaching twice is
// harmless.
//
// It waits for calls of this package that are in flight in this process, and for no others: the bytes stay mapped while
// there is a lease of the area's View, such as that of a hash table with an entry that is held. If the spans cannot be
// given back, or the area's lock is not free within 10 seconds, the error says so, and the other sessions recover the
// spans as those of a dead session. The area is detached all the same.
func (a *Area) Detach() (err error) {
	a.end()
	a.lockStripes()
	defer a.unlockStripes()
	if a.left || a.head == nil { // nil: the zero Area
		return nil
	}
	a.left = true
	err = a.contained(func() error { return a.leaveSlot(context.Background()) })
	if a.self.View.Ended() && errors.Is(err, ErrCorrupt) {
		err = errClosed // the bytes have been swapped in between
	}
	clear(a.heaps[:])
	defer func() { // also if a function of OnDetach ends the goroutine
		err = errors.Join(err, a.unmapAll())
	}()
	return errors.Join(err, a.hooks.run())
}

// onlySession reports whether this is the only living session. What dead sessions have goes with the area, so it need
// not be recovered first, which a session that closes could not do: it can map nothing more. The caller holds the
// area's lock.
func (a *Area) onlySession() bool {
	for i := range a.slots {
		if w := a.slots[i].peer.Load(); w != 0 && i != a.slot && a.self.Alive(shmsync.PeerOf(w)) {
			return false
		}
	}
	return true
}
