package dsa

import (
	"structs"
	"sync/atomic"

	"github.com/godsm/godsm/internal/failpoint"
)

// note is what a session is about to do in a stripe. Who recovers a dead session reads it, and who takes a span from a
// living one.
type note struct {
	_      structs.HostLayout
	intent atomic.Uint64
	place  atomic.Uint64 // the word that the object comes into, or is taken from, if there is one; see Place
}

// An intent is the pointer of the object or span in a session's hands, and in its slack what is going on. It is stored
// before anything happens to that. When it is over the note rests: its intent is a number then that counts what the
// session has freed in the stripe, so that who has searched in vain knows when to search again.
const (
	intentNone = 0
	// intentHeld: nobody but this session can have changed whether the object is allocated. If it is, it is lost.
	intentHeld = 1
	// intentStamped: the object bears the stamp, and is being freed in a span that others allocate from. If
	// it is allocated and still bears the stamp it is lost; without the stamp, somebody else has it by now.
	intentStamped = 2
	// intentSpan: no object is in the session's hands, only a span of its own.
	intentSpan = 3

	restMask = 1<<slackShift - 1
)

// name notes a span, or an object, so that it is seen before what the session loads next: by an exchange, or by the
// fence of who reads it.
func (n *note) name(what uint64, swaps bool) {
	if swaps {
		n.intent.Swap(what)
	} else {
		store(&n.intent, what)
	}
}

// begin notes that the session is about to allocate or free p.
func (n *note) begin(p Pointer, at Place, swaps bool) {
	if at.word != nil {
		store(&n.place, uint64(at.at))
		failpoint.Hit("dsa/note/place")
	}
	n.name(uint64(p.withSlack(intentHeld)), swaps)
}

// rest notes that the session has nothing in its hands.
func (s *stripe) rest(n *note) { store(&n.intent, s.freed&restMask) }

// end notes that it is done. A place is looked at only while there is an intent.
func (s *stripe) end(n *note, at Place) {
	s.rest(n)
	if at.word != nil {
		failpoint.Hit("dsa/note/over")
		store(&n.place, 0)
	}
}
