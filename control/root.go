package control

import (
	"context"

	"github.com/godsm/godsm/internal/failpoint"
)

// The root segment is where sessions that know nothing of each other meet. There is one in an instance, or none yet. Its
// mark is in the pin of its row, so it is found by looking at all rows, which a session seldom does.

// Root returns the handle of the instance's root segment, which sessions find that know nothing of each other. If there
// is none yet, the candidate, a live segment, becomes it and is pinned, by one store, so that no death leaves one
// without the other. A candidate of 0 is none, and 0 the answer then. NeedsKeeper says that the backend's objects go
// with the last process that has them open: then the pin is a wish (see Pin). A root whose row was garbled is
// ErrCorrupt, a closing instance ErrStale, a candidate that is not live ErrNotFound.
func (m *Member) Root(ctx context.Context, candidate uint64, needsKeeper bool) (handle uint64, err error) {
	handle, made, err := m.root(ctx, candidate, needsKeeper)
	if made && needsKeeper && err == nil {
		return handle, contained(func() error { m.t.header.news.Advance(); return nil })
	}
	return handle, err
}

// root does what Root does, and reports whether it made the candidate the root. The news comes after the section, since
// it wakes the supervisor.
func (m *Member) root(ctx context.Context, candidate uint64, needsKeeper bool) (handle uint64, made bool, err error) {
	s, err := m.enter(ctx, plain)
	if err != nil {
		return 0, false, err
	}
	defer s.leaveSection(&err)
	if m.t.closing() {
		return 0, false, ErrStale
	}
	for i := range m.t.segments {
		r := &m.t.segments[i]
		if !isRoot(r.pin.Load()) || wordState(r.word.Load()) != Live {
			continue
		}
		handle = r.handle.Load()
		_, err = m.t.liveRow(handle)
		return handle, false, err
	}
	if candidate == 0 {
		return 0, false, nil
	}
	i, err := m.t.liveRow(candidate)
	if err != nil {
		return 0, false, err
	}
	pin := root | pinned
	if needsKeeper && !m.t.isCarved(i) {
		pin = root | pinWanted
	}
	// Mark and pin are one word and one store: a death leaves a root that is pinned, or none. A
	// candidate that did not become it goes with its creator's reference, as any segment does.
	m.t.segments[i].pin.Store(pin)
	failpoint.Hit("control/root/pinned")
	return candidate, true, nil
}

// isRoot reports whether a pin word is that of the root segment. An unpinned root is invalid, and not one.
func isRoot(w pinState) bool { return w == root|pinned || w == root|pinWanted }
