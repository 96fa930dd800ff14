package dsa

import (
	"structs"
	"sync/atomic"

	"github.com/godsm/godsm/internal/failpoint"
)

// A note is how a session says what it is about to do, so that others can finish or undo it after its death. It is
// written before anything happens to the object, and struck after everything has. Notes do not keep others out: the
// span's state and the locks do.

// note is what a session is about to do in a stripe. Its session writes both words under that stripe. The session that
// recovers a dead session reads both, under the area's lock, and clears them. A session that takes a span from a
// living one reads intent alone, under the area's lock, and a search reads it without one; see freedSum.
type note struct {
	_ structs.HostLayout
	// intent names an object or a span, and says what is going on with it; see below.
	intent atomic.Uint64
	// place names the word that the object comes into, or is taken from; 0 if there is none. See Place. It is stored
	// before intent and cleared after it, so it belongs to each intent that is seen beside it.
	place atomic.Uint64
}

// An intent is the pointer of the object or span in a session's hands, and in the pointer's slack is one of these. When
// the call is over the note rests: its intent is a number below 2^40 then, so its slack is intentNone. The number
// counts what the session has freed in the stripe, and so lets a session that has searched in vain know when to search
// again.
const (
	// intentNone: the session has nothing in its hands in this stripe.
	intentNone = 0
	// intentHeld: no other session can have changed whether the object is allocated. If the session dies and the object
	// is allocated, then no program knows it, so it is freed.
	intentHeld = 1
	// intentStamped: the object bears the stamp, and is being freed in a span that other sessions allocate from. If it
	// is allocated and still bears the stamp, the session died before it had set "freed", and the object is freed for
	// it. Without the stamp another session has the object by now: a session that collects the block removes the stamp
	// before the block can be allocated again.
	intentStamped = 2
	// intentSpan: the pointer is that of a span's first byte. The session may be about to store "used" there. Nothing
	// has to be undone after its death; the note keeps takers away while it lives.
	intentSpan = 3

	restMask = 1<<slackShift - 1
)

// publishName notes a span, or an object, so that it is seen before what the session loads next: with swaps by an
// exchange, else by a plain store and the barrier that the process has passed which reads the note. The caller holds
// the stripe.
func (n *note) publishName(what uint64, swaps bool) {
	if swaps {
		n.intent.Swap(what)
	} else {
		storeOrdered(&n.intent, what)
	}
}

// begin notes that the session is about to allocate or free p, into or out of at. The caller holds the stripe. It
// stores the place first: a death between the two stores leaves a place without an intent, which means nothing.
func (n *note) begin(p Pointer, at Place, swaps bool) {
	if at.word != nil {
		storeOrdered(&n.place, uint64(at.at))
		failpoint.Hit("dsa/note/place")
	}
	n.publishName(uint64(p.withSlack(intentHeld)), swaps)
}

// clearNote notes that the session has nothing in its hands. The caller holds the stripe.
func (s *stripe) clearNote(n *note) { storeOrdered(&n.intent, s.freed&restMask) }

// endNote strikes a note that began with begin. The caller holds the stripe. It strikes the intent first: a death
// between the two stores leaves a place without an intent, which recovery ignores and clears.
func (s *stripe) endNote(n *note, at Place) {
	s.clearNote(n)
	if at.word != nil {
		failpoint.Hit("dsa/note/over")
		storeOrdered(&n.place, 0)
	}
}
