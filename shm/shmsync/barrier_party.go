package shmsync

import (
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/onebit"
)

// This file is about who takes part in a barrier: the slots, each of which counts the goroutines of one process. What it
// changes is one slot at a time, by a swap of the whole slot; that a phase may end because of it is advance's affair.

// slots returns the number of slots: those of the word, then those that the program has added.
func (b *Barrier) slots() int { return len(b.word.parties) + len(b.more) }

// slot returns slot i, from 0 to slots()-1.
func (b *Barrier) slot(i int) *Slot {
	if n := len(b.word.parties); i >= n {
		return &b.more[i-n]
	}
	return &b.word.parties[i]
}

// joinSlot counts one more participant of this process and reports whether it found room: in the first pass in a slot
// that the process has, in the second in a free one, in the third in one that a dead process had.
//
// The new participant has not arrived: an arrival of an earlier phase that the slot shows does not count in this one,
// and one of this phase belongs to another goroutine of the process. The look at the view lies between the load of the
// slot and its swap, and the end of the view changes every slot: so no participant is added after the end.
func (b *Barrier) joinSlot() bool {
	for pass := range 3 {
		if pass == 2 {
			b.subtractDead(func(party) bool { return true })
		}
		for i := range b.slots() {
			for s := b.slot(i); ; {
				w := s.w.Load()
				p := partyOf(w)
				if p.peer != b.self && (p.peer != 0 || pass == 0) || p.attached >= most || b.view.Ended() {
					break
				}
				p.peer = b.self
				p.attached++
				if s.w.CompareAndSwap(w, p.word()) {
					return true
				}
			}
		}
	}
	return false
}

// changeSlot changes one of this process's slots by f, in the first slot for which f returns true, and reports whether
// there was one. f gets the party as it counts in that phase, may be called several times, and must not keep it.
//
// The phase cannot end during the call if the caller takes part and has not arrived. If it has arrived, as in
// undoArrival, the phase may end first: then the slot's arrivals are of another phase than the one that counts, and f
// sees none.
func (b *Barrier) changeSlot(phase uint32, f func(p *party) bool) bool {
	for i := range b.slots() {
		s := b.slot(i)
		for {
			w := s.w.Load()
			p := partyOf(w).inPhase(phase)
			if p.peer != b.self || !f(&p) {
				break
			}
			if s.w.CompareAndSwap(w, p.word()) {
				return true
			}
		}
	}
	return false
}

// anyParty reports whether a slot is in use, by a process that lives or by one that has died and was not subtracted yet.
func (b *Barrier) anyParty() bool {
	for i := range b.slots() {
		if partyOf(b.slot(i).w.Load()).peer != 0 {
			return true
		}
	}
	return false
}

// subtractDead frees the slots of dead processes for which matters is true; it asks about those alone whether they live,
// since that costs more than a look. The swap begins from the word in which the dead process was found: if another
// process has freed the slot since, and a third has taken it, the swap fails and the new participant stays.
func (b *Barrier) subtractDead(matters func(party) bool) {
	for i := range b.slots() {
		s := b.slot(i)
		w := s.w.Load()
		if p := partyOf(w); p.peer != 0 && p.peer != b.self && matters(p) && !b.me.alive(p.peer) {
			s.w.CompareAndSwap(w, 0)
			failpoint.Hit("shmsync/barrier/subtracted")
		}
	}
}

// otherParties lists the other sessions that take part, as words, for a sleep that the death of one of them ends. One
// that has arrived is listed too: it may end the phase, and die before it wakes those that wait.
func (b *Barrier) otherParties() (list []uint64) {
	for i := range b.slots() {
		if p := partyOf(b.slot(i).w.Load()); p.peer != 0 && p.peer != b.self {
			list = append(list, p.peer)
		}
	}
	return list
}

// notArrived lists the sessions that have yet to arrive in the phase, dead sessions that were not subtracted yet among
// them.
func (b *Barrier) notArrived(phase uint32) (list []Peer) {
	for i := range b.slots() {
		if p := partyOf(b.slot(i).w.Load()); p.peer != 0 && p.inPhase(phase).arrived < p.inPhase(phase).attached {
			list = append(list, PeerOf(p.peer))
		}
	}
	return list
}

// partyOf takes a word apart, one wrong bit put right. A word that could not have been stored, with more goroutines than
// most or with a count and no peer, becomes one that could.
func partyOf(w uint64) party {
	if w == 0 {
		return party{}
	}
	n := onebit.Of(w)
	p := party{peer: n & peerMask, phase: n >> 43 & 3, arrived: n >> 45 & 63, attached: min(n>>51, most)}
	if p.attached == 0 || p.peer == 0 {
		return party{ends: n >> 43 & 255}
	}
	return p
}
