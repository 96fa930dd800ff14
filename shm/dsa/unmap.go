package dsa

import (
	"cmp"
	"errors"
	"slices"
	"time"

	"github.com/godsm/godsm/shm/shmsync"
)

// This file ends mappings: of segments that went back, while the area goes on, and of all segments at Detach. Both
// happen under all stripes, so no call of this process is in the middle of using one. Bytes that a program has from
// Bytes are no business of stripes: a segment goes back only when no object is left in it, so such bytes are of an
// object that is freed.

// unmapReturned unmaps the segments that went back. It takes all stripes, so it waits for each call that is in flight;
// the caller has none. It does nothing if no segment went back since the last call. A segment in which this session has
// a span did not go back, whatever its row says: it stays mapped. After the area's end it returns ErrClosed.
func (a *Area) unmapReturned() error {
	a.lockStripes()
	defer a.unlockStripes()
	if a.ends.Ended() {
		return errClosed
	}
	now := a.head.returned.Load()
	if now == a.seen.Load() {
		return nil
	}
	return unmapList(a.takeReturned(now))
}

// takeReturned returns the mappings that are to be unmapped, and takes them out of Area.maps: those of earlier lives,
// and those whose row is not live, or has another life, by now. Now is the header's returned, loaded before the rows
// are: if another segment goes back in between, the count differs again and the next call finds it. The caller has all
// stripes.
//
// Row 0 is never among them, since the first segment goes back with the area alone.
func (a *Area) takeReturned(now uint64) (list []*mapping) {
	a.mapMu.Lock()
	defer a.mapMu.Unlock()
	mine := a.heapSegments()
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

// unmapList detaches each mapping of a list, and marks it as gone, for calls that have found it before and have no
// stripe yet. The hook is taken back first, since the detaching of such a segment must not detach the area. The caller
// has all stripes.
func unmapList(list []*mapping) error {
	var errs []error
	for _, m := range list {
		m.gone = true
		m.cancel()
		errs = append(errs, m.seg.Detach())
	}
	return errors.Join(errs...)
}

// unmapAll detaches all segments, the one with the header last. It is for Detach, and for an Attach that has failed.
// For each segment it takes a lease of the segment's view, which ends when no lease of the area's view is left: until
// then what is detached keeps its bytes, for structures that hold a lock or an entry in them. The caller has all
// stripes, or is the only one that knows the area.
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
	return unmapList(list)
}

// unmapAfter ends a call that may have given a segment back: it unmaps that, and all others that went back. It returns
// err, or the error of unmapping if that is nil, or, once the area has ended, ErrClosed. The caller has no stripe.
func (a *Area) unmapAfter(err error) error {
	serr := a.contained(func() error {
		if a.head.returned.Load() == a.seen.Load() {
			return nil
		}
		return a.unmapReturned()
	})
	return a.orClosed(cmp.Or(err, serr))
}

// askOthersToUnmap has the other sessions asked soon to unmap what went back. Those that use the area do it anyway; one that
// is idle would keep the memory. It does not block: a timer asks, unless one runs already. A session that dies before
// its timer has fired asks none, so an idle session keeps the memory until another segment goes back. What the timer
// reads, it reads under a stripe: Detach waits for it, or it finds the end and does nothing.
func (a *Area) askOthersToUnmap() {
	if a.self.Ask == nil || a.asking.Swap(true) {
		return
	}
	time.AfterFunc(askDelay, func() {
		_ = a.contained(func() error {
			return a.withStripe(func() error {
				a.asking.Store(false)
				if a.ends.Ended() {
					return errClosed
				}
				now := uint32(a.head.returned.Load())
				for i := range a.slots {
					w := a.slots[i].peer.Load()
					if w != 0 && i != a.slot && a.slots[i].seen.Load() != now {
						a.self.Ask(shmsync.PeerOf(w))
					}
				}
				return nil
			})
		})
	})
}
