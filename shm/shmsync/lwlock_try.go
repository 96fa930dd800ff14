package shmsync

import "github.com/godsm/godsm/internal/sys/fault"

// tryLock takes the lock if no living session is in the way, without waiting; it asks about those in the way whether
// they live. It returns false and no error if one lives.
//
// Readers are looked for before the attempt: an owner that has to give up again would keep new readers out for a
// moment. Two rounds suffice, one that finds a dead session and one that takes the lock; if others come in between,
// the lock is held.
func (l *LWLock) tryLock(m mode) (g Guard, ok bool, err error) {
	defer errOfView(&err, l.bytes)
	defer fault.Return(&err, fault.Catch())
	w := want{mode: m}
	for range 2 {
		if l.view.Ended() {
			return Guard{}, false, l.view.Err()
		}
		if m == exclusive && l.word.state.Load()&(peerMask|mayRead) == mayRead && !l.noReaders() {
			l.freeDeadSlots()
			if !l.noReaders() {
				return Guard{}, false, l.view.Err()
			}
		}
		g, err := l.attemptLock(w, true)
		if err == errBlocked {
			var took bool
			if g, took, err = l.takeOver(w); !took && err == nil {
				err = errBlocked
			}
		}
		switch err {
		case nil:
			return g, true, nil
		case errBlocked, errLost:
		case errDrain:
			l.cancelDrain()
		case errNoSlot:
			return Guard{}, false, l.view.Err()
		default:
			return g, false, err
		}
		if l.word.state.Load()&peerMask != 0 {
			break
		}
	}
	return Guard{}, false, l.view.Err()
}
