package control

import (
	"structs"
	"sync/atomic"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/sys/ordered"
)

// The counters of an instance lie in a tally for each process row. A tally counts what all users of its row have done
// since the generation began: a user goes on from where its predecessor ended. So nothing is folded into anything when
// a session ends or dies, a counter is changed by one store, and the instance's counter is the sum over the rows, which
// a reader takes without a lock.
//
// Each word has one writer at a time: the user of the row, under the control lock, but for lockRefused and
// refusedSystem, which it adds to without the lock, and for returned, which the reclaimer of a dead user stores under
// the lock.
//
// Returned is never added to. A process that gives all references of a row's user back stores what makes the row's
// balance nothing,
//
//	creates + attaches - detaches - returned = references that the row's user holds
//
// so a reclaim that is cut short by a death at any store and done again by another process counts each reference once.
//
//	a death between                       leaves
//	a bit set, it is not counted          a reference that was never counted, neither when taken nor when returned
//	a bit cleared, it is not counted      a reference that is counted as returned by the reclaim, not as detached
//	returned stored, the row not free     the next reclaim stores the same value
//
// A word that is read while its writer goes on is a little old, and words that are read one after the other need not
// belong together. A stray store makes one counter wrong until the generation ends. Nothing is decided by a tally.
type tally struct {
	_ structs.HostLayout
	tallied

	returned       atomic.Uint64 // references that a reclaim, or the end of a session, gave back
	refusedMissing atomic.Uint64 // attaches of a handle that is not live
	lockRefused    atomic.Uint64 // waits for the control lock that were given up
	reclaimTime    atomic.Uint64 // ns in reclaims that this row's users made
	lastReclaim    atomic.Uint64 // Unix time in ns; 0 if there was none

	since tallied // what the first words were when the present user joined
	_     [3]uint64
}

// tallied is the part of a tally that is shown for each session, too.
type tallied struct {
	creates        atomic.Uint64 // segments made
	createdBytes   atomic.Uint64 // their sizes
	attaches       atomic.Uint64 // references to segments that another session made
	detaches       atomic.Uint64 // references given back, one by one
	lockWaits      atomic.Uint64 // for the control lock
	lockWaitTime   atomic.Uint64 // ns
	refusedRows    atomic.Uint64 // max_segments
	refusedMemory  atomic.Uint64 // max_memory
	refusedSession atomic.Uint64 // max_memory_per_process, max_segments_per_process
	refusedSystem  atomic.Uint64 // the system had no memory, or another reason
}

const tallySize = 224

// addToTally adds to a word of which this process is the only writer now, by a load and a plain store. A death in between
// leaves what was there before.
func addToTally(w *atomic.Uint64, n uint64) { ordered.Store64(w, w.Load()+n) }

// beginLocked notes, in the first section of a row's new user, from where on it counts. The caller holds the control
// lock.
func (t *tally) beginLocked() {
	for i, w := range t.tallyWords() {
		ordered.Store64(t.since.tallyWords()[i], w.Load())
	}
	failpoint.Hit("control/tally/begun")
}

// tallyWords returns the counters in the order of doneOf.
func (t *tallied) tallyWords() [10]*atomic.Uint64 {
	return [...]*atomic.Uint64{&t.creates, &t.createdBytes, &t.attaches, &t.detaches, &t.lockWaits, &t.lockWaitTime,
		&t.refusedRows, &t.refusedMemory, &t.refusedSession, &t.refusedSystem}
}

// heldNow returns how many references the row's user holds, by what was counted.
func (t *tally) heldNow() uint64 {
	return t.creates.Load() + t.attaches.Load() - t.detaches.Load() - t.returned.Load()
}

// balanceLocked notes that all references of the row's user were given back. The caller holds the control lock, and has
// given them back. It stores a sum and adds nothing, so a second reclaimer stores the same.
func (t *tally) balanceLocked() {
	t.returned.Store(t.creates.Load() + t.attaches.Load() - t.detaches.Load())
	failpoint.Hit("control/tally/balanced")
}
