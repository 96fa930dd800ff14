package shared

import "testing"

// The model explores all interleavings of one slot: a caller that hands in two commands, one after the other, in the same
// slot and may withdraw each; three leaders, of which each may be stopped between any two steps, or die; and a database
// whose COMMIT may be lost on the way there or back. A step is one load, one store or one compare-and-swap of the code.

// world of the model. It is comparable: what was seen is a map of it.
type modelState struct {
	word   uint8 // state
	epoch  uint8 // of claimed and tentative
	flush  uint8
	use    uint8 // of the slot: the command, 1 or 2
	result uint8 // the command whose result is in the slot

	lead    uint8 // the header's epoch
	dbEpoch uint8
	dbBy    uint8
	dbFlush uint8
	times   [3]uint8 // executions of each command
	told    [3]uint8 // 1: acknowledged, 2: withdrawn

	leaders [3]modelLeader
	faults  uint8 // that are left
}

type modelLeader struct {
	pc          uint8
	epoch       uint8
	by, last    uint8
	n           uint8 // its flush
	seen, seenE uint8 // the slot's word when it looked
	seenF       uint8
	seenUse     uint8
	use         uint8 // of the claimed command
}

// steps of a leader.
const (
	mOut = iota
	mFence
	mLook
	mSettle
	mClaim
	mCheck
	mRun
	mPromote
	mCommit
	mAsk
	mDemote
	mAnswer
	mDone
	mDead
)

// modelFlaw is what a mutant leaves out. The model must find each.
type modelFlaw struct{ noBy, noFence, noSettle, noExactWord, demoteInDoubt, answerUnasked bool }

func (s modelState) slot() [3]uint8 { return [3]uint8{s.word, s.epoch, s.flush} }

func (s *modelState) set(st state, epoch, flush uint8) {
	s.word, s.epoch, s.flush = uint8(st), epoch, flush
}

// next calls f with each state that follows.
func (s modelState) next(flaw modelFlaw, f func(modelState)) {
	// the caller
	switch state(s.word) {
	case free:
		if s.use < 2 {
			n := s
			n.use++
			n.result = 0
			n.set(ready, 0, 0)
			f(n)
		}
	case ready:
		n := s
		n.told[n.use] = 2
		n.set(free, 0, 0)
		f(n)
	case done:
		n := s
		n.told[n.use] = 1
		n.set(free, 0, 0)
		f(n)
	}
	for i := range s.leaders {
		s.step(i, flaw, f)
	}
}

func (s modelState) step(i int, flaw modelFlaw, f func(modelState)) {
	l := s.leaders[i]
	to := func(pc uint8, change func(n *modelState, l *modelLeader)) {
		n := s
		n.leaders[i].pc = pc
		if change != nil {
			change(&n, &n.leaders[i])
		}
		f(n)
	}
	if l.pc != mOut && l.pc != mDead && s.faults > 0 {
		to(mDead, func(n *modelState, l *modelLeader) { *l = modelLeader{pc: mDead}; n.faults-- })
	}
	deposed := s.lead != l.epoch
	claimedBy := func(st state, epoch, flush uint8) [3]uint8 { return [3]uint8{uint8(st), epoch, flush} }
	switch l.pc {
	case mOut: // the lease of the one before is over at any moment
		if int(s.lead) == i { // in their order: nothing tells them apart
			to(mFence, func(n *modelState, l *modelLeader) { n.lead++; l.epoch = n.lead })
		}
	case mFence:
		if s.dbEpoch >= l.epoch {
			to(mDead, nil)
			return
		}
		to(mLook, func(n *modelState, l *modelLeader) { n.dbEpoch = l.epoch; l.by, l.last = n.dbBy, n.dbFlush })
	case mLook:
		to(mSettle, func(n *modelState, l *modelLeader) {
			l.seen, l.seenE, l.seenF, l.seenUse = n.word, n.epoch, n.flush, n.use
		})
	case mSettle:
		to(mClaim, func(n *modelState, l *modelLeader) {
			st := state(l.seen)
			if (st == claimed || st == tentative) && l.seenE < l.epoch {
				same := n.slot() == [3]uint8{l.seen, l.seenE, l.seenF} && n.use == l.seenUse
				if flaw.noExactWord {
					same = state(n.word) == claimed || state(n.word) == tentative
				}
				if same {
					committed := st == tentative && (l.seenE == l.by || flaw.noBy) && l.seenF <= l.last
					if committed && !flaw.noSettle {
						n.set(done, 0, 0)
					} else {
						n.set(ready, 0, 0)
					}
				}
			}
			l.seen, l.seenE, l.seenF, l.seenUse = 0, 0, 0, 0
		})
	case mClaim:
		if state(s.word) == ready {
			to(mCheck, func(n *modelState, l *modelLeader) { n.set(claimed, l.epoch, 0); l.use = n.use })
		} else if !deposed && s.use < 2 {
			to(mLook, nil)
		}
	case mCheck:
		to(mRun, func(n *modelState, l *modelLeader) {
			if n.lead != l.epoch {
				l.pc = mDead
				if n.slot() == claimedBy(claimed, l.epoch, 0) {
					n.set(ready, 0, 0)
				}
			}
		})
	case mRun:
		to(mPromote, func(n *modelState, l *modelLeader) { l.n++ })
	case mPromote:
		to(mCommit, func(n *modelState, l *modelLeader) {
			if n.slot() != claimedBy(claimed, l.epoch, 0) {
				l.pc = mDead
				return
			}
			n.result = l.use
			n.set(tentative, l.epoch, l.n)
		})
	case mCommit:
		commit := func(n *modelState, l *modelLeader) {
			if n.dbEpoch != l.epoch && !flaw.noFence {
				l.pc = mDead
				return
			}
			n.times[l.use]++
			n.dbBy, n.dbFlush = l.epoch, l.n
		}
		to(mAnswer, commit)
		if s.faults > 0 {
			to(mAsk, func(n *modelState, l *modelLeader) { n.faults--; commit(n, l) }) // the answer is lost
			to(mAsk, func(n *modelState, l *modelLeader) { n.faults-- })               // or the COMMIT
		}
	case mAsk:
		if flaw.answerUnasked {
			to(mAnswer, nil)
			return
		}
		to(mDemote, func(n *modelState, l *modelLeader) {
			switch {
			case flaw.demoteInDoubt:
			case n.dbBy > l.epoch: // not known any more
				l.pc = mDead
			case n.dbBy == l.epoch && n.dbFlush >= l.n:
				l.pc = mAnswer
			}
		})
	case mDemote:
		to(mRun, func(n *modelState, l *modelLeader) {
			if n.slot() != claimedBy(tentative, l.epoch, l.n) {
				l.pc = mDead
				return
			}
			n.set(claimed, l.epoch, 0)
		})
	case mAnswer:
		if deposed {
			to(mDead, nil)
			return
		}
		to(mDone, nil)
	case mDone: // it may have been stopped since it looked at the header
		to(mLook, func(n *modelState, l *modelLeader) {
			if n.slot() == claimedBy(tentative, l.epoch, l.n) {
				n.set(done, 0, 0)
			}
		})
	}
}

// wrong returns what must never be.
func (s modelState) wrong() string {
	for c := 1; c <= 2; c++ {
		switch {
		case s.times[c] > 1:
			return "a command was executed twice"
		case s.told[c] == 1 && s.times[c] != 1:
			return "a command was acknowledged and not executed"
		case s.told[c] == 2 && s.times[c] != 0:
			return "a command was withdrawn and executed"
		}
	}
	if state(s.word) == done && s.result != s.use {
		return "a command has another one's result"
	}
	return ""
}

func explore(flaw modelFlaw) (states int, wrong string) {
	seen := map[modelState]bool{}
	todo := []modelState{{faults: 2}}
	for len(todo) > 0 {
		s := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if seen[s] {
			continue
		}
		seen[s] = true
		if w := s.wrong(); w != "" {
			return len(seen), w
		}
		s.next(flaw, func(n modelState) {
			if n.leaders[0].n < 4 && n.leaders[1].n < 4 && n.leaders[2].n < 4 {
				todo = append(todo, n)
			}
		})
	}
	return len(seen), ""
}

func TestModelOfASlot(t *testing.T) {
	states, wrong := explore(modelFlaw{})
	t.Logf("%d states", states)
	if wrong != "" {
		t.Error(wrong)
	}
}

func TestModelFindsFlaws(t *testing.T) {
	for name, flaw := range map[string]modelFlaw{
		"who committed is not compared":            {noBy: true},
		"the database does not fence":              {noFence: true},
		"the successor takes all up again":         {noSettle: true},
		"the successor moves from any word":        {noExactWord: true},
		"what is in doubt is executed again":       {demoteInDoubt: true},
		"what is in doubt is answered without ask": {answerUnasked: true},
	} {
		if states, wrong := explore(flaw); wrong == "" {
			t.Errorf("%s: nothing is wrong in %d states", name, states)
		}
	}
}
