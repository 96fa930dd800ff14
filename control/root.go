package control

import (
	"context"

	"github.com/godsm/godsm/internal/failpoint"
)

// Root returns the handle of the instance's root segment, which sessions find that know nothing of each other. If there
// is none yet, the candidate, a live segment, becomes it and is pinned, by one store, so that no death leaves one
// without the other. A candidate of 0 is none, and 0 the answer then.
func (m *Member) Root(ctx context.Context, candidate uint64, needsKeeper bool) (handle uint64, err error) {
	handle, made, err := m.root(ctx, candidate, needsKeeper)
	if made && needsKeeper && err == nil {
		return handle, guarded(func() error { m.t.header.news.Add(); return nil })
	}
	return handle, err
}

func (m *Member) root(ctx context.Context, candidate uint64, needsKeeper bool) (handle uint64, made bool, err error) {
	s, err := m.enter(ctx, plain)
	if err != nil {
		return 0, false, err
	}
	defer s.leave(&err)
	if m.t.closing() {
		return 0, false, ErrStale
	}
	for i := range m.t.segments {
		r := &m.t.segments[i]
		if !isRoot(r.pin.Load()) || stateOf(r.word.Load()) != Live {
			continue
		}
		handle = r.handle.Load()
		_, err = m.t.live(handle)
		return handle, false, err
	}
	if candidate == 0 {
		return 0, false, nil
	}
	i, err := m.t.live(candidate)
	if err != nil {
		return 0, false, err
	}
	pin := root | pinned
	if needsKeeper && !m.t.carved(i) {
		pin = root | pinWanted
	}
	m.t.segments[i].pin.Store(pin)
	failpoint.Hit("control/root/pinned")
	return candidate, true, nil
}
