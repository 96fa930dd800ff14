package waitqueue

import (
	"structs"
	"sync/atomic"
)

// Head is a lock. Its zero value is free. It is 16 bytes.
type Head struct {
	_ structs.HostLayout
	// Word is the hold in place, and Slow: see Hold. Taken and given back by compare-and-swap.
	Word atomic.Uint64
	// first and last are the ends of the list of records, in the order of tickets. Written under the mutex; derived.
	first, last atomic.Uint32
}

// Hold is a hold in place, or a free word:
//
//	bits 0-2    mode; 0: free
//	bit  3      Slow
//	bits 4-15   the holder's row plus one
//	bits 16-35  the holder's owner, of its session's numbers; 0: none
//	bits 36-63  a number of the holder's, another one for each hold
type Hold uint64

// Slow is the flag of a word beside which there are records.
const Slow Hold = 8

const (
	ownerBits = 20
	// MaxOwner is the highest number of an owner.
	MaxOwner = 1<<ownerBits - 1
)

// HoldOf returns a hold in place.
func HoldOf(row int, m Mode, owner, number uint32) Hold {
	return Hold(m&7) | Hold(row+1)<<4 | Hold(owner&MaxOwner)<<16 | Hold(number)<<36
}

// Mode returns the mode that the word is held in, None if it is free.
func (h Hold) Mode() Mode { return Mode(h & 7) }

// In returns the same hold in another mode.
func (h Hold) In(m Mode) Hold { return h&^7 | Hold(m&7) }

// Row returns the holder's, -1 of a free word.
func (h Hold) Row() int { return int(h>>4&(1<<12-1)) - 1 }

// Owner returns the holder's owner, 0 if it named none.
func (h Hold) Owner() uint32 { return uint32(h>>16) & MaxOwner }

// TryTake takes a lock that is free and beside which there are no records, and reports whether it has.
func (h *Head) TryTake(hold Hold) bool { return h.Word.CompareAndSwap(0, uint64(hold)) }

// TryGive gives back a hold in place beside which there are no records, and reports whether it has.
func (h *Head) TryGive(hold Hold) bool { return h.Word.CompareAndSwap(uint64(hold), 0) }

// Give gives back a hold in place, whatever there is beside it. It reports whether there are records, whose waiters
// CallLocked calls, and whether the word was hold's.
func (h *Head) Give(hold Hold) (slow, was bool) {
	for { // Slow may come and go meanwhile
		w := Hold(h.Word.Load())
		if w&^Slow != hold&^Slow {
			return w&Slow != 0, false
		}
		if h.Word.CompareAndSwap(uint64(w), uint64(w&Slow)) {
			return w&Slow != 0, true
		}
	}
}

// Convert makes a hold in place another one of the same holder, whatever there is beside it, and reports whether it was in
// place. It runs under the mutex.
func (h *Head) Convert(was, now Hold) bool {
	return h.Word.CompareAndSwap(uint64(was|Slow), uint64(now|Slow)) || h.Word.CompareAndSwap(uint64(was), uint64(now))
}

// Idle reports whether no process holds the lock and no record but those that are pinned is beside it.
func (h *Head) Idle() bool { return h.Word.Load() == 0 }

// Empty reports whether there is no record beside the lock, not even a pin.
func (h *Head) Empty() bool { return h.first.Load() == 0 }
