package shmsync

import (
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/onebit"
)

// This file is about the readers of a lock: their slots, each of which counts what one process reads.

// A reader's slot is the onebit word of a number of 57 bits:
//
//	bits 0-42   the peer; 0 in all if the slot is free
//	bits 43-44  goes up when the end of a view clears the slot
//	bits 45-56  how often the peer's process reads, at most maxTimes
//
// The count is at the top: a number with one more reader has a word that is larger by oneTime. So the fast paths add
// to a word and subtract from it without taking it apart.
const (
	endsShift  = 43
	timesShift = 45
	maxTimes   = 4000

	oneTime = onebit.Factor << timesShift
)

// reader is a slot's content.
type reader struct{ peer, ends, times uint64 }

// slotIsFree reports whether w is that of a free slot, without the division that readerOf makes: a number with neither
// peer nor count has a word with nothing in its low 43 bits, below oneTime.
func slotIsFree(w uint64) bool { return w<<(64-endsShift) == 0 && w < oneTime }

// readerOf takes a slot apart, one wrong bit put right. A word that can't be is a peer's that does not exist.
func readerOf(w uint64) reader {
	w = onebit.Of(w)
	r := reader{w & peerMask, w >> endsShift & 3, w >> timesShift}
	if r.times == 0 {
		r.peer = 0
	}
	return r
}

// word returns the word of a reader. One that reads 0 times is that of a free slot.
func (r reader) word() uint64 {
	if r.times == 0 {
		r.peer = 0
	}
	return onebit.Word(r.peer | r.ends<<endsShift | r.times<<timesShift)
}

// enterSlot writes one more reader of this process into s and reports whether it could: not if s is another session's
// or full, or the view has ended. The caller is not in yet: it has to find no owner in the state afterwards, or leave
// the slot.
//
// The look at the view comes between the load of the word and its swap: the end clears every slot of the lock, which
// changes its word. So no reader comes in after the end has cleared what its session holds.
func (l *LWLock) enterSlot(s *Slot) bool {
	for !l.view.Ended() {
		w := s.w.Load()
		r := readerOf(w)
		if r.peer != 0 && r.peer != l.self || r.times >= maxTimes || l.view.Ended() {
			return false
		}
		r.peer = l.self
		r.times++
		if !s.w.CompareAndSwap(w, r.word()) {
			continue
		}
		if s == l.first && slotIsFree(w) {
			l.vacant.Store(w)
		}
		return true
	}
	return false
}

// leaveSlot takes one reader of this process out of s, and wakes the writer that waits for that. A slot that is not this
// session's it leaves as it is. A process that dies after the swap has left; see Unlock for the writer.
func (l *LWLock) leaveSlot(s *Slot) {
	for {
		w := s.w.Load()
		r := readerOf(w)
		if r.peer != l.self {
			return // the session or the view has ended, or the guard has been unlocked before
		}
		r.times--
		if s.w.CompareAndSwap(w, r.word()) {
			break
		}
	}
	l.wakeWriter()
}

// enterAnySlot enters a slot: the preferred one, one that this process has, a free one, or a dead session's. It returns the
// slot's number, -1 if there is none.
func (l *LWLock) enterAnySlot() int {
	if l.enterSlot(l.first) {
		return int(l.mine)
	}
	for _, askToo := range []bool{false, true} {
		for i := range l.slots() {
			s := l.slot(i)
			if askToo {
				l.freeDeadSlot(s)
			}
			if l.enterSlot(s) {
				return i
			}
		}
	}
	return -1
}

// freeDeadSlot frees the slot if its reader is dead, from the word in which it was found: a reader that has come since
// stays.
func (l *LWLock) freeDeadSlot(s *Slot) {
	w := s.w.Load()
	if r := readerOf(w); !slotIsFree(w) && r.peer != l.self && (r.peer == 0 || !l.me.alive(r.peer)) {
		s.w.CompareAndSwap(w, reader{ends: r.ends}.word())
		failpoint.Hit("shmsync/lwlock/subtracted")
	}
}

// freeDeadSlots frees the slots of all dead readers. It asks about each process in a slot whether it lives, this one
// apart.
func (l *LWLock) freeDeadSlots() {
	for i := range l.slots() {
		l.freeDeadSlot(l.slot(i))
	}
}

// readerWords lists the sessions that read, as words, for a sleep that the death of one of them ends.
func (l *LWLock) readerWords() (list []uint64) {
	for i := range l.slots() {
		if r := readerOf(l.slot(i).w.Load()); r.peer != 0 {
			list = append(list, r.peer)
		}
	}
	return list
}

// noReaders reports whether no slot has a reader; a dead session that was not subtracted yet is one. To the owner it
// means that the readers are gone: none comes in between its look at one slot and at the next.
func (l *LWLock) noReaders() bool {
	for i := range l.word.readers {
		if w := l.word.readers[i].w.Load(); !slotIsFree(w) && readerOf(w).peer != 0 {
			return false
		}
	}
	for i := range l.more {
		if w := l.more[i].w.Load(); !slotIsFree(w) && readerOf(w).peer != 0 {
			return false
		}
	}
	return true
}

// preferredSlot returns the slot of n that a session tries first. It spreads neighbouring rows over cache lines, eight
// slots each, so that readers in different processes seldom store to one line.
func preferredSlot(row, n int) int {
	lines := max(n/8, 1)
	return (row%lines*8 + row/lines%8) % n
}

// slot returns readers' slot i, from 0 to slots()-1.
func (l *LWLock) slot(i int) *Slot { return slotOf(l.word, l.more, i) }

// slotOf does what slot does. It asks whether w is nil, since for the address alone of what lies in *w Go would load a byte
// of it, which may be gone: NewLWLock reads no shared memory.
func slotOf(w *LWLockWord, more []Slot, i int) *Slot {
	if n := len(w.readers); i >= n {
		return &more[i-n]
	}
	if w == nil {
		return nil
	}
	return &w.readers[i]
}

// slots returns the number of readers' slots: those of the word, then those that the program has added.
func (l *LWLock) slots() int { return len(l.word.readers) + len(l.more) }
