package dsa

import (
	"context"
	"errors"
	"fmt"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/shm/shmsync"
)

// enter finds a slot for this session.
func (a *Area) enter(ctx context.Context) error {
	g, err := a.acquire(ctx)
	if err != nil {
		return err
	}
	defer g.Unlock()
	if a.head.gone.Load() != 0 {
		_ = a.removeLocked(ctx) // who began to may have died
		return errkind.As(ErrNotFound, errors.New("dsa: the area's last session has left, and it is gone"))
	}
	if _, err := a.recoverDeadLocked(ctx); err != nil {
		return err
	}
	for i := range a.slots {
		if a.slots[i].peer.Load() == 0 {
			return a.join(i)
		}
	}
	return errkind.As(ErrFull,
		fmt.Errorf("dsa: all %d sessions that the area has room for are there (Options.Sessions)", len(a.slots)))
}

func (a *Area) join(i int) error {
	if a.self.Row < 0 || a.self.Row >= shmsync.MaxRows {
		return fmt.Errorf("dsa: %v is no session", a.self.Peer)
	}
	a.slot, a.notes = i, &a.slots[i].notes
	for j := range a.notes {
		a.notes[j].intent.Store(a.stripes[j].freed & restMask)
		a.notes[j].place.Store(0)
	}
	order, swaps := orderOf()
	a.slots[i].order.Store(order)
	a.swaps = swaps
	a.slots[i].seen.Store(uint32(a.seen.Load()))
	a.slots[i].peer.Store(a.self.Peer.Word())
	failpoint.Hit("dsa/attach/joined")
	return nil
}

// Detach ends this session's use of the area: what it kept ready goes back, and all is unmapped. The
// last one out removes the area, unless it is pinned. Objects stay allocated. Twice is harmless.
//
// It waits for calls of this package that are in flight, and for no others: the bytes stay mapped while there is a lease
// of the area's View, such as that of a hash table with an entry that is held.
func (a *Area) Detach() (err error) {
	a.end()
	a.lockStripes()
	defer a.unlockStripes()
	if a.left || a.head == nil { // nil: the zero Area
		return nil
	}
	a.left = true
	err = a.contained(func() error { return a.leave(context.Background()) })
	if a.self.View.Ended() && errors.Is(err, ErrCorrupt) {
		err = errClosed // the bytes have been swapped meanwhile
	}
	clear(a.heaps)
	defer func() { // also if a function of OnDetach ends the goroutine
		err = errors.Join(err, a.unmapAll())
	}()
	return errors.Join(err, a.hooks.run())
}

func (a *Area) leave(ctx context.Context) (err error) {
	g, err := a.acquireUnrepaired(ctx, nil)
	if err != nil {
		return err
	}
	defer g.Unlock()
	if a.slot < 0 { // it has not entered
		return nil
	}
	defer func() {
		if err != nil { // who closes can't map what it would take: others recover it, as that of a dead one
			gone := a.self.Peer
			gone.Incarnation--
			a.slots[a.slot].peer.Store(gone.Word())
		}
	}()
	if a.head.pinned.Load() == 0 && a.alone() {
		return a.removeLocked(ctx)
	}
	if err := a.mendLocked(ctx); err != nil {
		return err
	}
	if err := a.emptyHeapsLocked(ctx, true); err != nil {
		return err
	}
	failpoint.Hit("dsa/detach/emptied")
	a.slots[a.slot].peer.Store(0)
	failpoint.Hit("dsa/detach/left")
	return nil
}

// alone says that this is the only living session. What the dead ones held goes with the area, and
// need not be looked at: who closes can't map it.
func (a *Area) alone() bool {
	for i := range a.slots {
		if w := a.slots[i].peer.Load(); w != 0 && i != a.slot && a.self.Alive(shmsync.PeerOf(w)) {
			return false
		}
	}
	return true
}

// removeLocked gives all segments back, the one with the header last. The caller holds the area's lock.
func (a *Area) removeLocked(ctx context.Context) error {
	a.head.gone.Store(1)
	failpoint.Hit("dsa/remove/gone")
	var errs []error
	for i := 1; i < len(a.rows); i++ {
		if state, _ := rowOf(a.rows[i].word.Load()); state != rowFree {
			errs = append(errs, a.giveSegmentLocked(ctx, i))
		}
	}
	if a.head.flags.Load()&flagInPlace == 0 {
		failpoint.Hit("dsa/remove/last")
		errs = append(errs, a.unpinLocked(ctx, 0))
	}
	return errors.Join(errs...)
}
