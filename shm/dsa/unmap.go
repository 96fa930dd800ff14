package dsa

import (
	"errors"
	"slices"
)

// sweep unmaps the segments that went back, under all stripes, which it takes: their objects are gone, and no call of
// this package uses one. What this session has a span in did not go back, whatever its row says: it stays mapped.
func (a *Area) sweep() error {
	a.lockStripes()
	defer a.unlockStripes()
	if a.ends.Ended() {
		return errClosed
	}
	now := a.head.returned.Load()
	if now == a.seen.Load() {
		return nil
	}
	return unmap(a.strays(now))
}

func (a *Area) strays(now uint64) (list []*mapping) {
	a.mapMu.Lock()
	defer a.mapMu.Unlock()
	mine := a.inHeaps()
	a.stale = slices.DeleteFunc(a.stale, func(m *mapping) bool {
		if m.stays = m.stays || mine[m]; !m.stays {
			list = append(list, m)
		}
		return !m.stays
	})
	for i := 1; i < maxRows; i++ {
		m := a.maps[i].Load()
		if m == nil || m.stays {
			continue
		}
		if state, life := rowOf(a.rows[i].word.Load()); state == rowLive && m.tag == tagOf(i, life) {
			continue
		}
		if mine[m] {
			m.stays = true
			continue
		}
		a.maps[i].Store(nil)
		list = append(list, m)
	}
	a.seen.Store(now)
	if a.slot >= 0 {
		a.slots[a.slot].seen.Store(uint32(now))
	}
	return list
}

// unmap runs under all stripes.
func unmap(list []*mapping) error {
	var errs []error
	for _, m := range list {
		m.gone = true
		m.cancel()
		errs = append(errs, m.seg.Detach())
	}
	return errors.Join(errs...)
}

// unmapAll is for Detach, under all stripes: the segment with the header is last. While there are leases of the
// area's view, what is detached keeps its bytes.
func (a *Area) unmapAll() error {
	a.mapMu.Lock()
	list := a.stale
	a.stale = nil
	for i := maxRows - 1; i >= 0; i-- {
		if m := a.maps[i].Swap(nil); m != nil {
			list = append(list, m)
		}
	}
	a.mapMu.Unlock()
	for _, m := range list {
		if lease, ok := m.seg.View().Hold(); ok {
			defer a.ends.Drain(lease.Leave)
		}
	}
	return unmap(list)
}
