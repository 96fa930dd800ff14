package control

import (
	"context"
	"fmt"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/failpoint"
)

// A pin is a reference of the instance's own. Where an object goes with the last process that has it open, it is first a
// wish: the row says so, the supervisor opens the object and answers with Kept, and only then the pin counts. The moves:
//
//	unpinned -> pinned                 Pin
//	unpinned -> pinWanted -> pinned    Pin, then Kept by the supervisor
//	pinWanted, pinned -> unpinned      Unpin; never of the root
//
// Each is one store. A process that dies after its wish leaves the wish, which the supervisor fulfils all the same. A
// supervisor that dies between a wish and Kept leaves the wish too; the caller of Pin sees that in AwaitsKeeper, and
// takes the wish back with Unpin. A wish keeps the segment as a pin does.

// Pin keeps a live segment until Unpin or the end of the instance, with or without holders. Pinning twice is the same
// as once. With needsKeeper a process must keep the object open, and the segment is pinned once the supervisor has said
// Kept; Pin does not wait for that. A carved segment needs no keeper: the supervisor has the region mapped. A handle
// that is not live is ErrNotFound, a closing instance ErrStale.
func (m *Member) Pin(ctx context.Context, handle uint64, needsKeeper bool) error {
	wish, err := m.pin(ctx, handle, needsKeeper)
	if wish && err == nil {
		failpoint.Hit("control/pin/wished")
		return contained(func() error { m.t.header.news.Advance(); return nil })
	}
	return err
}

// pin does what Pin does, and reports whether it has left a wish, of which the supervisor is to learn after the section.
func (m *Member) pin(ctx context.Context, handle uint64, needsKeeper bool) (wish bool, err error) {
	s, err := m.enter(ctx, plain)
	if err != nil {
		return false, err
	}
	defer s.leaveSection(&err)
	if m.t.closing() {
		return false, ErrStale
	}
	i, err := m.t.liveRow(handle)
	if err != nil {
		return false, err
	}
	pin := &m.t.segments[i].pin
	switch {
	case pinOf(pin.Load()) == pinned:
	case needsKeeper && !m.t.isCarved(i):
		pin.Store(pin.Load()&root | pinWanted)
		failpoint.Hit("control/pin/wanted")
		return true, nil
	default:
		pin.Store(pinned)
		failpoint.Hit("control/pin/pinned")
	}
	return false, nil
}

// Kept fulfils a wish for a pin: the supervisor has the object open. If wanted is false the wish is gone, or the
// segment, and the caller closes the object. Without the control lock nothing has changed, and the caller tries again.
func (m *Member) Kept(ctx context.Context, handle uint64) (wanted bool, err error) {
	s, err := m.enter(ctx, plain)
	if err != nil {
		return false, err
	}
	defer s.leaveSection(&err)
	i, err := m.t.liveRow(handle)
	if err != nil {
		return false, nil
	}
	pin := &m.t.segments[i].pin
	if pin.Load() == unpinned {
		return false, nil
	}
	pin.Store(pin.Load()&root | pinned)
	failpoint.Hit("control/kept/pinned")
	return true, nil
}

// Unpin takes the pin away. If no process holds the segment either, last is true as with Unref. A segment that is not
// live, or not pinned, is ErrNotFound, the root segment ErrPermission.
func (m *Member) Unpin(ctx context.Context, handle uint64) (e Entry, last bool, err error) {
	s, err := m.enter(ctx, plain)
	if err != nil {
		return e, false, err
	}
	defer s.leaveSection(&err)
	i, err := m.t.liveRow(handle)
	if err != nil {
		return e, false, err
	}
	r := &m.t.segments[i]
	switch pin := r.pin.Load(); {
	case pin == unpinned:
		return e, false, errkind.As(ErrNotFound, fmt.Errorf("the segment is not pinned"))
	case isRoot(pin):
		return e, false, errkind.As(errkind.Permission,
			fmt.Errorf("it is the instance's root segment, and stays as long as the instance"))
	}
	e = m.t.entry(i)
	// The pin before the state: a process that dies in between leaves a live row that nothing keeps, for the repair.
	r.pin.Store(unpinned)
	failpoint.Hit("control/unpin/unpinned")
	return e, m.makeMoribundLocked(i), nil
}

// pinOf returns what a pin word says but for the root's mark.
func pinOf(w pinState) pinState { return w &^ root }
