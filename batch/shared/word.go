package shared

import "github.com/godsm/godsm/shm/shmsync"

// A word is the state of a slot: in bits 0 to 2 the state; above it, for claimed and tentative, the epoch in 29 bits and
// the flush in 32; for the other states the number of the slot's use, so that no late compare-and-swap meets the next use.
type word uint64

type state uint64

const (
	free state = iota
	taken
	ready
	claimed
	tentative
	done
)

func (s state) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return "invalid"
}

var stateNames = []string{"free", "taken", "ready", "claimed", "tentative", "done"}

const (
	epochBits = 29
	mostEpoch = 1<<epochBits - 1
	mostFlush = 1<<32 - 1
)

func (w word) state() state  { return state(w & 7) }
func (w word) epoch() uint64 { return uint64(w) >> 3 & mostEpoch }
func (w word) flush() uint64 { return uint64(w) >> 32 }

// use returns the word of the numbered use of a slot.
func use(s state, number uint64) word { return word(uint64(s) | number<<3) }

// term returns the word of a slot in a flush.
func term(s state, epoch, flush uint64) word { return word(uint64(s) | epoch<<3 | flush<<32) }

// A leadWord says who leads: the epoch in bits 0 to 28, and above it the leader's row plus 1, or 0.
type leadWord uint64

func (w leadWord) epoch() uint64 { return uint64(w) & mostEpoch }
func (w leadWord) row() int      { return int(w>>epochBits) - 1 }

// An owner of a block is a peer: its row plus 1 in bits 32 to 42, its incarnation below, and above how often the block has
// changed hands, so that no late compare-and-swap meets the next owner.
const handsAt = 43

// ownerOf returns the word for the next owner of a block.
func ownerOf(p shmsync.Peer, before uint64) uint64 {
	return uint64(p.Row+1)<<32 | uint64(p.Incarnation) | (before>>handsAt+1)<<handsAt
}

// ownerless returns the word for a block that an owner has left.
func ownerless(owner uint64) uint64 { return owner >> handsAt << handsAt }

// peerOf returns the owner. Its row is -1 if there is none.
func peerOf(w uint64) shmsync.Peer {
	return shmsync.Peer{Row: int(w>>32&(1<<(handsAt-32)-1)) - 1, Incarnation: uint32(w)}
}
