package mq

import (
	"math/bits"
	"structs"
	"sync/atomic"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/onebit"
	"github.com/godsm/godsm/internal/sys/bell"
	"github.com/godsm/godsm/internal/sys/futex"
)

// magic says that this is a queue, and in its topmost byte which version of the layout it has.
const (
	magic   = version<<56 | kind
	version = 3
	kind    = 0x71_6d_6d_73_64_6f_67 // "godsmmq", in the order of little-endian bytes
)

// header is what lies before the ring.
type header struct {
	_        structs.HostLayout
	magic    atomic.Uint64 // written last by Create
	size     atomic.Uint64 // onebit word of the ring's; written once
	_        [48]byte
	sender   side
	receiver side
}

// side is what one end tells the other: two cache lines, of which the second hardly ever changes. One wrong bit in it is
// read as it was, or costs a wake-up a few milliseconds late.
type side struct {
	_     structs.HostLayout
	pos   atomic.Uint64 // onebit word of the bytes written, or read, since the queue was made; this end's process writes it
	_     [56]byte
	peer  atomic.Uint64 // onebit word of whose end it is; set once. With taken: it has been attached to
	sleep atomic.Uint32 // bit 0: this end may be asleep on this word. A process that wakes it clears that and adds 2
	gone  atomic.Uint32 // more than half of the bits: this end is detached
	// By which this end is woken if that is not 0, instead of on the word; whom it doesn't reach sets it to 0.
	bell atomic.Uint64
	_    [40]byte
}

const asleep = 1 // in side.sleep

// taken stands beside a peer's word.
const taken = 1 << 43

func (s *side) at() uint64 { return onebit.Of(s.pos.Load()) }

// user returns whose end it is, perhaps with taken; 0 if that is not known.
func (s *side) user() uint64 { return onebit.Of(s.peer.Load()) }

// name makes an end that is no process's, or is's already, that of to. It returns whose it was if it fails, else 0.
func (s *side) name(is, to uint64) (other uint64) {
	for {
		w := s.peer.Load()
		if n := onebit.Of(w); n != 0 && n != is {
			return n
		}
		if s.peer.CompareAndSwap(w, onebit.Word(to)) {
			return 0
		}
	}
}

// left reports whether the end is detached.
func (s *side) left() bool {
	w := s.gone.Load()
	return w != 0 && bits.OnesCount32(w) > 16
}

func (s *side) leave() { s.gone.Store(1<<32 - 1) }

// wake wakes this side's process if it is asleep, or about to be. It reports false if that process has a bell that can't
// be reached: its watcher is to wake it then.
func (s *side) wake() bool {
	for w := s.sleep.Load(); w&asleep != 0; w = s.sleep.Load() {
		if s.sleep.CompareAndSwap(w, w-asleep+2) {
			failpoint.Hit("mq/wake/cleared")
			return s.ring()
		}
	}
	return true
}

// rouse wakes this side's process whatever its word says.
func (s *side) rouse() {
	s.sleep.Add(2)
	s.ring()
}

func (s *side) ring() (reached bool) {
	reached = true
	if name := s.bell.Load(); name != 0 {
		if bell.Ring(name) {
			return true
		}
		reached = !s.bell.CompareAndSwap(name, 0)
	}
	futex.Wake(&s.sleep, 1<<30)
	return reached
}
