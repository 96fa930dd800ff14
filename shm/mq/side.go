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

// side is what one end tells the other, in two cache lines of which the second hardly ever changes. If a stray store
// changes one bit of it, the onebit words still decode to the number that was stored; in the other words such a bit may
// delay a wake-up, by a second at most.
type side struct {
	_ structs.HostLayout
	// pos is the onebit word of how many bytes this end has written, or read, since the queue was made. This end's
	// process stores it, after the bytes of the ring that it stands for; the other end loads it. A stale value shows
	// the other end less than there is, and never more.
	pos atomic.Uint64
	_   [56]byte
	// peer is the onebit word of the session whose end this is, 0 until it is known. It is set once, by SetSender or
	// SetReceiver in any process, or by the end itself, which adds taken.
	peer atomic.Uint64
	// sleep has bit 0 set while this end may be asleep on this word. This end sets it before it looks for the last
	// time, and clears it when it goes on. The process that wakes the end clears it and adds 2, so that a sleep which
	// is just beginning finds another value. A bit that is lost costs a wake-up; the beat of the session's watcher
	// makes up for that.
	sleep atomic.Uint32
	// gone has more than half of its bits set once this end is detached; this end's process sets them all. It never
	// goes back.
	gone atomic.Uint32
	// bell is the name of the socket by which this end is woken, instead of on sleep; 0 if there is none. A Conn's
	// reader stores it; the process that can't reach it sets it to 0, and from then on the reader sleeps on the word.
	bell atomic.Uint64
	_    [40]byte
}

// position returns the position that pos stands for. It may be any number in a queue that was garbled.
func (s *side) position() uint64 { return onebit.Of(s.pos.Load()) }

// userWord returns the word of the session whose end it is, with taken once that has attached; 0 if the session is not
// known.
func (s *side) userWord() uint64 { return onebit.Of(s.peer.Load()) }

// nameUser makes the end that of to, if it is no session's yet, or that of is. It returns the word of the session that
// has it if it fails, else 0. Of two processes that try at once one gets it: by compare-and-swap.
func (s *side) nameUser(is, to uint64) (other uint64) {
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

// hasLeft reports whether the end is detached. A stray store to up to 15 bits of gone changes nothing.
func (s *side) hasLeft() bool {
	w := s.gone.Load()
	return w != 0 && bits.OnesCount32(w) > 16
}

// setLeft marks the end as detached, for the other end. It may be called twice.
func (s *side) setLeft() { s.gone.Store(1<<32 - 1) }

// wakeSleeper wakes this side's process if that is asleep, or about to be. It reports false if the process has a bell
// that can't be reached from here: the process's own watcher is to wake it then. It makes a system call only if the
// process may be asleep.
func (s *side) wakeSleeper() bool {
	for w := s.sleep.Load(); w&asleep != 0; w = s.sleep.Load() {
		// The bit is cleared before the ring, so of two processes that wake one makes the call. A process that dies
		// in between leaves an end asleep whose bit is clear: end.waitIsLate finds that, once a second.
		if s.sleep.CompareAndSwap(w, w-asleep+2) {
			failpoint.Hit("mq/wake/cleared")
			return s.ringBell()
		}
	}
	return true
}

// wakeForLook wakes the goroutines of this side's process that sleep on its word, whatever that says: the value
// changes, so a sleep that is just beginning ends too.
func (s *side) wakeForLook() {
	s.sleep.Add(2)
	futex.Wake(&s.sleep, 1<<30)
}

// ringBell wakes a goroutine that sleeps at this side's bell or, without one, on its word. It reports false if there was
// a bell that could not be reached, and takes that away; then it has woken the goroutines that sleep on the word all
// the same.
func (s *side) ringBell() (reached bool) {
	reached = true
	if name := s.bell.Load(); name != 0 {
		if bell.Ring(name) {
			return true
		}
		// Only if the name is still the same: the owner may have another bell by now.
		reached = !s.bell.CompareAndSwap(name, 0)
	}
	futex.Wake(&s.sleep, 1<<30)
	return reached
}
