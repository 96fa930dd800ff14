package dsa

import (
	"context"
	"errors"
	"fmt"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/shm/shmsync"
)

// A session comes and goes by its slot: it joins by a slot in the area's table, and leaves by clearing it. The
// slot decides: a session whose slot names it, and which is dead, is recovered by another one. What a session does to
// leave it could also leave undone by dying, so an error on the way out costs the others work, and loses nothing.

// joinSlot makes slot i this session's. The caller holds the area's lock, or is the only one that knows the area.
//
// The notes are put to rest first, and peer is stored last: other sessions read a slot's notes and order only when its
// peer is not 0, so they never take what an earlier session has left there for this one's. A process that dies before
// that store leaves a free slot.
func (a *Area) joinSlot(i int) error {
	if a.self.Row < 0 || a.self.Row >= shmsync.MaxRows {
		return fmt.Errorf("dsa: %v is no session", a.self.Peer)
	}
	a.slot, a.owned = i, kindOwned|uint64(i+1)
	for j := range a.stripes {
		n := &a.slots[i].notes[j]
		n.intent.Store(a.stripes[j].freed)
		n.place.Store(0)
		a.stripes[j].note = n
	}
	order, swaps := noteOrder()
	a.slots[i].order.Store(order)
	a.swaps = swaps
	a.slots[i].seen.Store(uint32(a.seen.Load()))
	a.slots[i].peer.Store(a.self.Peer.Word())
	failpoint.Hit("dsa/attach/joined")
	return nil
}

// joinFreeSlot gives this session a slot, and recovers dead sessions first, which frees theirs. An area whose last
// session has begun to remove it is ErrNotFound; the session goes on with the removal, since the one that began it may
// have died. A table without a free slot is ErrFull. It takes the area's lock; the caller has a stripe.
func (a *Area) joinFreeSlot(ctx context.Context) error {
	g, err := a.lockArea(ctx)
	if err != nil {
		return err
	}
	defer g.Unlock()
	if a.head.gone.Load() != 0 {
		_ = a.removeSegmentsLocked(ctx) // the session that began to may have died
		return errkind.As(ErrNotFound, errors.New("dsa: the area's last session has left, and it is gone"))
	}
	if _, err := a.recoverDeadLocked(ctx); err != nil {
		return err
	}
	for i := range a.slots {
		if a.slots[i].peer.Load() == 0 {
			return a.joinSlot(i)
		}
	}
	return errkind.As(ErrFull,
		fmt.Errorf("dsa: all %d sessions that the area has room for are there (Options.Sessions)", len(a.slots)))
}

// leaveSlot gives up this session's slot, with what belongs to it, and removes the area if it was the last session's. It
// takes the area's lock with no regard to the end of the view, which has come. The caller has all stripes.
//
// The spans go back before the slot is cleared: a process that dies in between is a dead session with few spans, and is
// recovered. In the other order the spans would bear the number of a slot that is free, which no session recovers.
func (a *Area) leaveSlot(ctx context.Context) (err error) {
	g, err := a.lockAreaUnrepaired(ctx, nil)
	if err != nil {
		a.abandonSlot()
		return err
	}
	defer g.Unlock()
	if a.slot < 0 { // it has not entered
		return nil
	}
	defer func() {
		if err != nil { // a session that closes cannot map what it would need to
			a.abandonSlot()
		}
	}()
	if a.head.pinned.Load() == 0 && a.onlySession() {
		return a.removeSegmentsLocked(ctx)
	}
	if err := a.repairIfDirtyLocked(ctx); err != nil {
		return err
	}
	if err := a.releaseHeapsLocked(ctx, true); err != nil {
		return err
	}
	failpoint.Hit("dsa/detach/emptied")
	a.slots[a.slot].peer.Store(0)
	failpoint.Hit("dsa/detach/left")
	return nil
}

// abandonSlot makes this session's slot name an incarnation that is over: the others recover it as a dead session, as
// they would if the process died now. It needs no lock, as a death needs none. The compare-and-swap leaves a slot alone
// that is another session's by now, because this one was taken for dead and recovered. The caller has all stripes, so no
// call is in flight, and the notes rest.
func (a *Area) abandonSlot() {
	if a.slot < 0 { // it has not entered
		return
	}
	gone := a.self.Peer
	gone.Incarnation--
	a.slots[a.slot].peer.CompareAndSwap(a.self.Peer.Word(), gone.Word())
}
