package shmsync

import (
	"errors"
	"fmt"
	"structs"
	"sync/atomic"
	"time"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/waits"
	"github.com/godsm/godsm/shm"
)

// Kinds of failure. They match with errors.Is.
var (
	ErrClosed         = errkind.Closed         // this session has ended, and others may hold what it held
	ErrFull           = errkind.Full           // no room for one more process: give the word more Slots
	ErrNotRecoverable = errkind.NotRecoverable // a holder died, and the next one did not call MarkConsistent
	ErrPeerDied       = errkind.PeerDied       // the wait was for a session that is dead
	ErrOwned          = errors.New("owned already")
	ErrNotOwner       = errors.New("not the owner")
)

// Peer names a session, the same in every process: a row of some table of processes, and which use of that row it is.
// Rows are below MaxRows. A Peer outlives its session: of a row that is used again it names the dead session, not the one
// that has the row now.
type Peer struct {
	Row         int
	Incarnation uint32
}

func (p Peer) String() string { return fmt.Sprintf("%d/%d", p.Row, p.Incarnation) }

// MaxRows bounds Peer.Row.
const MaxRows = 1<<11 - 2

// Self is who this process is among its peers, and how it knows living sessions from dead ones. It is made once and
// handed to all that needs it.
//
// Alive is asked by those who wait, never on a way that does not wait. It must not block, must be safe for
// concurrent use, and may err to "alive" for a while, never to "dead". That a row is used by another incarnation
// by now means dead; so does a row that does not exist, of which a garbled word may speak.
//
// The fields below View may be nil, where there is no session behind it: then no process is rung, told or asked.
type Self struct {
	Peer
	Alive func(Peer) bool
	View  *shm.View // ends with the session; nil if that never ends

	Mailbox *Mailbox     // this session's, and the way to the others'
	Waits   *waits.Waits // this session's goroutines that wait for others; nil: they ask from time to time whether those live

	// Who says for people which session a peer is: its name, process, application and state.
	Who func(Peer) string

	// Ask has another session look whether it holds a lock whose word names it: a word that a stray store has hit may
	// name a session that lives and holds nothing. A caller that has waited long for a holder that is alive calls it. It does
	// not block and is asked in vain at worst.
	Ask func(Peer)

	// OnAsk has f called each time that another session asks, until stop: f looks at the lock words that a structure
	// knows, and gives back by a compare-and-swap those that name this session though nothing of it holds or is taking
	// the lock. Calls are one after another, with those of OnDeath too; the session waits for none.
	OnAsk func(f func()) (stop func())

	// OnDeath has f called for each session of the instance that has died since: see dsm.Session.OnDeath.
	OnDeath func(f func(Peer)) (stop func())

	Checked bool // the instance is in checked mode: misuse is looked for that costs time to find
}

// PeerDiedError ends a wait for a peer that is dead. It matches ErrPeerDied.
type PeerDiedError struct{ Peer Peer }

// Error names the peer by its row and incarnation.
func (e *PeerDiedError) Error() string { return fmt.Sprintf("the peer %v died", e.Peer) }

// Is reports whether target is ErrPeerDied.
func (e *PeerDiedError) Is(target error) bool { return target == ErrPeerDied }

// A peer in a 64-bit word: incarnation in bits 0-31, row plus one in bits 32-42. What is above is the word's own.
const peerMask = 1<<43 - 1

// Word returns the peer in bits 0-42 of a word that lies in shared memory, never 0. It panics if the row is not from 0 to
// MaxRows-1: a Peer that was read from shared memory is checked before.
func (p Peer) Word() uint64 {
	if p.Row < 0 || p.Row >= MaxRows {
		panic(fmt.Sprintf("shmsync: row %d is not from 0 to %d", p.Row, MaxRows-1))
	}
	return uint64(p.Row+1)<<32 | uint64(p.Incarnation)
}

// PeerOf undoes Word, whatever is in the bits above. Of 0 it makes a peer that does not exist, in row -1. Of a word that a
// stray store has hit it may make a peer in a row that there can't be, which counts as dead.
func PeerOf(w uint64) Peer {
	return Peer{Row: int(w&peerMask>>32) - 1, Incarnation: uint32(w)}
}

// alive reports whether the peer in w is. A peer in a row that cannot be is dead. It costs a question to the process table,
// so it is asked by those alone that would wait otherwise.
func (s *Self) alive(w uint64) bool {
	p := PeerOf(w)
	return p.Row >= 0 && p.Row < MaxRows && s.Alive(p)
}

// Slot is room for what one process does with a word: that it reads under a lock, takes part in a barrier. Its zero
// value is free. It is 8 bytes. The process that finds the peer in it dead may free it.
//
// What is in it is its word's own: see reader and party. Slots that a program adds to a lock or a barrier lie in shared
// bytes that end with its word, are zero before their first use, and are the same ones, in the same order, in every process.
type Slot struct {
	_ structs.HostLayout
	w atomic.Uint64
}

// unit is the lowest bit above the peer: in the list of those that wait for a lock it is set for shared use.
const unit = 1 << 43

// minPatience bounds the sleep of a reader that has found no free slot: it looks again for a reader that has died.
const minPatience = time.Millisecond

// indexOfPeer returns the index of the first peer for which f is true, -1 if there is none.
func indexOfPeer(peers []Peer, f func(Peer) bool) int {
	for i, p := range peers {
		if f(p) {
			return i
		}
	}
	return -1
}

// wordsOf returns the words of the peers. It leaves out those whose row can be no session's.
func wordsOf(peers []Peer) (list []uint64) {
	for _, p := range peers {
		if p.Row >= 0 && p.Row < MaxRows {
			list = append(list, p.Word())
		}
	}
	return list
}
