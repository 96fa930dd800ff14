package shmsync

import "math/bits"

// This file gives the lock back, and wakes those that wait for it. The state is swapped first and the sleepers are woken
// afterwards; a process that dies in between leaves a free lock with sleepers, which hear of its death and look.

// releaseExclusive ends this process's exclusive hold that what names, in whatever state the word is: with flags, with
// one wrong bit, or of another holder, whose hold stays. It poisons the lock if the hold is abandoned still. A second
// release of a hold does nothing, since its number has gone up.
//
// Idle is stored after the state was swapped. A goroutine that takes the lock in between finds idle out of date and
// takes the slow path.
func (l *LWLock) releaseExclusive(what uint64) {
	for {
		st := l.word.state.Load()
		if !l.isStrayed(st, what&holds|l.self) {
			if !l.ownedBySelf(st) {
				return
			}
			if st&holds != what&holds {
				l.idle.Store(what&holds + oneHold) // it is over, if a stray store has changed its number
				return
			}
		}
		poison := uint64(0)
		if st&what&abandoned != 0 {
			poison = poisoned
		}
		if l.freeAndWake(st, poison) {
			l.idle.Store(what&holds + oneHold)
			return
		}
	}
}

// isStrayed reports whether st is the state of the present hold of this process, which name names, with one wrong bit: a
// stray store has made it another holder's, or of another number. No other holder has that number, since each hold has
// the next one. A lock whose view has ended may be another holder's by right.
func (l *LWLock) isStrayed(st, name uint64) bool {
	h, is := l.holdOfSelf()
	return is && h == name && bits.OnesCount64((st^name)&(holds|peerMask)) == 1 && !l.bytes.Ended()
}
