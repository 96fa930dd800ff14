package shmsync

import "github.com/godsm/godsm/internal/onebit"

// This file decodes and encodes the two kinds of word that a barrier has, its epoch and its slots. It loads and stores
// nothing, and any number can be decoded.
//
// A onebit word is a number as package internal/onebit encodes it: onebit.Of finds the number even if one bit of the
// word is wrong.

// A barrier's epoch is the onebit word of a number with these bits:
//
//	bits 0-31   the phase
//	bit 32      the last participant has left
//	bit 33      a participant has been elected since the last phase ended
//	bits 34-55  goes up whenever a participant comes or takes an arrival back: then the process that is about to end the
//	            phase counts again
//
// The phase wraps after 2^32 phases, the count of arrivals after 2^22. That does harm only if a process is stopped
// between the load and the compare-and-swap with which it ends a phase, while others complete exactly that many.
type epoch struct {
	phase         uint32
	left, elected bool
	arrivals      uint64
}

const (
	leftBit       = 1 << 32
	electedBit    = 1 << 33
	arrivalsShift = 34
	arrivalsMask  = 1<<22 - 1
)

// epochOf takes a word apart, one wrong bit put right.
func epochOf(w uint64) epoch {
	n := onebit.Of(w)
	return epoch{uint32(n), n&leftBit != 0, n&electedBit != 0, n >> arrivalsShift & arrivalsMask}
}

// word returns the word of an epoch, which epochOf takes apart again.
func (e epoch) word() uint64 {
	n := uint64(e.phase) | e.arrivals&arrivalsMask<<arrivalsShift
	if e.left {
		n |= leftBit
	}
	if e.elected {
		n |= electedBit
	}
	return onebit.Word(n)
}

// A barrier's slot is the onebit word of a number with these bits:
//
//	bits 0-42   the peer; 0 in all if the slot is free
//	bits 43-44  the phase, mod 4, that the arrivals are of
//	bits 45-50  how many of the peer's goroutines have arrived
//	bits 51-56  how many of the peer's goroutines take part, at most 61 (the constant most)
//
// A free slot has, in bits 43-50, what goes up when the end of a view takes a part away. So a swap that was prepared
// before that end fails, although the slot is as free as it was then.
//
// Two bits of the phase are enough: a slot is of the present phase or of the one before, since no phase ends before the
// participants in every slot have arrived in it.
type party struct{ peer, phase, arrived, attached, ends uint64 }

// most is how many goroutines of one process one slot counts. One more would be beyond onebit.Limit.
const most = 61

// word returns the word of a party. One without a peer or a participant is that of a free slot.
func (p party) word() uint64 {
	if p.attached == 0 || p.peer == 0 {
		return onebit.Word(p.ends & 255 << 43)
	}
	return onebit.Word(p.peer | p.phase&3<<43 | p.arrived&63<<45 | p.attached<<51)
}

// inPhase returns the party as it stands in that phase, in which earlier arrivals don't count.
func (p party) inPhase(phase uint32) party {
	if p.phase != uint64(phase%4) {
		p.arrived, p.phase = 0, uint64(phase%4)
	}
	return p
}
