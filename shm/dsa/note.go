package dsa

import (
	"structs"
	"sync/atomic"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/sys/fence"
	"github.com/godsm/godsm/internal/sys/ordered"
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
func (s *stripe) clearNote() { storeOrdered(&s.note.intent, s.freed) }

// countFreed counts an object that the session frees. The caller holds the stripe, and clears the note later.
func (s *stripe) countFreed() { s.freed = (s.freed + 1) & restMask }

// endNote strikes a note that began with begin. The caller holds the stripe. It strikes the intent first: a death
// between the two stores leaves a place without an intent, which recovery ignores and clears.
func (s *stripe) endNote(at Place) {
	s.clearNote()
	if at.word != nil {
		failpoint.Hit("dsa/note/over")
		storeOrdered(&s.note.place, 0)
	}
}

// canOrderNotes reports whether this process can have the notes of slot i seen. The slot's word comes from shared
// memory: a value that is none of the three is taken as unknown.
func (a *Area) canOrderNotes(i int) bool {
	switch a.slots[i].order.Load() {
	case orderItself:
		return true
	case orderBarrier:
		return fence.Able()
	}
	return false
}

// notedNames returns what the notes of all sessions name, this one's included. The caller holds the area's lock, and has
// passed the barrier.
func (a *Area) notedNames() (list names) {
	for i := range a.slots {
		if a.slots[i].peer.Load() == 0 {
			continue
		}
		for k := range a.slots[i].notes {
			if p := Pointer(a.slots[i].notes[k].intent.Load()); p.slack() != intentNone {
				list = append(list, p)
			}
		}
	}
	return list
}

// orderAllNotes has the notes of all sessions seen, and reports whether it could: false if one session's notes cannot be
// made seen, since any session may have the span. One system call of some microseconds does for all sessions; if none
// needs it, there is none. The caller holds the area's lock, so no session joins.
func (a *Area) orderAllNotes() bool {
	wanted := false
	for i := range a.slots {
		if a.slots[i].peer.Load() == 0 {
			continue
		}
		if !a.canOrderNotes(i) {
			return false
		}
		wanted = wanted || a.slots[i].order.Load() == orderBarrier
	}
	return !wanted || fence.All()
}

// noteOrder returns the order of this process's notes, and true for swaps if they have to be stored by an exchange for
// that: where a plain store does not wait for itself to be seen, and the system has no barrier that reaches this
// process.
func noteOrder() (order uint32, swaps bool) {
	switch {
	case ordered.Fenced:
		return orderItself, false
	case fence.Join():
		return orderBarrier, false
	}
	return orderItself, true
}
