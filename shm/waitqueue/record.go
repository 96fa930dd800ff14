package waitqueue

import (
	"encoding/binary"
	"structs"
	"sync/atomic"
)

// Record is a holder, a waiter, or what keeps a head from going. Its zero value is free. It is 64 bytes.
type Record struct {
	_ structs.HostLayout
	// Word is what the record is: see State. Written by the session that the record belongs to, but for a revocation.
	Word atomic.Uint64
	// Head names the lock, in the caller's own way. Written before Word, by the same.
	Head atomic.Uint64
	// Ticket is the place in the queue. Written before Word, by the same.
	Ticket atomic.Uint64
	// Since is when the wait or the hold began, in nanoseconds of the wall clock. Written before Word, by the same.
	Since atomic.Uint64
	// called is when the waiter was last called; 0: it has run since. Of a hold it is 1 if it is in a waiter's way. Written
	// under the mutex.
	called atomic.Uint64
	// Bit is of the mailbox of the record's session, where the waiter sleeps. Written before Word.
	Bit atomic.Uint32
	// passes counts how often the waiter has not come, above it the flag passed. Written under the mutex.
	passes atomic.Uint32
	// next and prev are the list's. Written under the mutex; derived.
	next, prev atomic.Uint32
	// Extra is the caller's own.
	Extra atomic.Uint64
}

const passed = 1 << 31

// State is a record's word:
//
//	bits 0-3    kind
//	bits 4-6    mode
//	bit  8      a waiter that holds the lock already, in a weaker mode, and goes before all others
//	bit  9      a waiter for several locks at once
//	bits 12-31  owner, as in Hold
//	bits 32-63  a number, another one each time that the record is used
type State uint64

// Kind is what a record is.
type Kind uint8

// The kinds.
const (
	Free    Kind = iota
	Pinned       // it keeps the head from going
	Waiting      // for the lock
	Held         // the lock
	Idle         // a hold that no process uses now, and that anyone may revoke
	Gone         // a waiter whose wait is over, or a hold that was revoked: it counts for nothing
	Note         // the caller's own; never in a list
)

const (
	// Upgrading marks a waiter that holds the lock already.
	Upgrading State = 1 << 8
	// Several marks a waiter for several locks.
	Several State = 1 << 9
)

// StateOf returns a record's word.
func StateOf(k Kind, m Mode, owner, number uint32) State {
	return State(k&15) | State(m&7)<<4 | State(owner&MaxOwner)<<12 | State(number)<<32
}

// Kind returns what the record is.
func (s State) Kind() Kind { return Kind(s & 15) }

// Mode returns what is waited for or held.
func (s State) Mode() Mode { return Mode(s >> 4 & 7) }

// Owner returns the record's owner, 0 if there is none.
func (s State) Owner() uint32 { return uint32(s>>12) & MaxOwner }

// With returns the same word of another kind.
func (s State) With(k Kind) State { return s&^15 | State(k&15) }

// In returns the same word with another mode.
func (s State) In(m Mode) State { return s&^(7<<4) | State(m&7)<<4 }

// State returns the record's word.
func (r *Record) State() State { return State(r.Word.Load()) }

// Called returns when the waiter was called, 0 if it has run since or has been passed over.
func (r *Record) Called() uint64 { return r.called.Load() }

// Wanted reports whether a waiter has found the hold in its way. Who makes a hold idle looks at it afterwards, and a waiter
// looks at the hold after it has marked it: one of the two sees the other.
func (r *Record) Wanted() bool { return r.called.Load() != 0 }

// Passed reports whether the waiter was called and did not come.
func (r *Record) Passed() bool { return r.passes.Load()&passed != 0 }

// NoteBytes is how long the text of a Note can be.
const NoteBytes = 40

func (r *Record) texts() [NoteBytes / 8]*atomic.Uint64 {
	return [...]*atomic.Uint64{&r.Head, &r.Ticket, &r.Since, &r.called, &r.Extra}
}

// StoreText stores as much of a text as there is room for, in a record that is a Note.
func (r *Record) StoreText(text string) {
	var b [8]byte
	for _, w := range r.texts() {
		clear(b[:])
		n := copy(b[:], text)
		text = text[n:]
		w.Store(binary.LittleEndian.Uint64(b[:]))
	}
}

// Text returns the text of a Note, with zeros behind it. One that is just being stored may be half the old one.
func (r *Record) Text() (b [NoteBytes]byte) {
	for range 3 {
		was := b
		for i, w := range r.texts() {
			binary.LittleEndian.PutUint64(b[8*i:], w.Load())
		}
		if b == was {
			break
		}
	}
	return b
}
