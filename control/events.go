package control

import (
	"cmp"
	"slices"
	"structs"
	"sync/atomic"
	"time"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/shm/shmsync"
)

// The last events of a generation lie in a ring. Several processes write, some of them without the control lock, and
// each may be killed at any store:
//
//	header.events  how many places were ever taken. A writer takes the next one by an atomic addition, and with it
//	               ring[number % eventsKept]
//	row.seal       0 while the row is written; last of all a checksum of the other words
//
// A reader takes no lock and trusts no count: it copies each row of the ring and takes those whose seal fits. So what a
// writer that died has left half written is skipped, as is a row in which a writer that was stopped for a thousand
// events stores late, or that a stray store has hit. A count that a stray store has hit changes the order alone, in
// which events are told. Of a death the event may be written twice, by two reclaimers of which the first died: a reader
// drops the second one.
const eventsKept = 1024

// eventRow is a place of the ring. Any process writes it, without a lock, and any reads it; a reader believes the words
// only if seal fits them all. So a stale read is a row that is passed over.
type eventRow struct {
	_           structs.HostLayout
	seal        atomic.Uint64
	number      atomic.Uint64 // by which readers put the rows in order
	time        atomic.Uint64 // Unix time in ns
	subject     atomic.Uint64 // the peer that it is about, or 0
	actor       atomic.Uint64 // the peer that has done it, if that is another
	count       atomic.Uint64
	bytes       atomic.Uint64
	kind        atomic.Uint32
	pid         atomic.Uint32 // the subject's
	application text          // the subject's
}

const eventRowSize = 96

// EventKind is what has happened. The numbers are part of the layout.
type EventKind uint32

const (
	Began          EventKind = iota + 1 // a generation
	Adopted                             // a supervisor took over a generation with its sessions
	Ending                              // the generation is closed
	Joined                              // a session
	Left                                // a session closed
	Died                                // a process died, and what it held was given back: Count references, Bytes
	RefusedRows                         // max_segments. Count: how often so far
	RefusedMemory                       // max_memory
	RefusedSession                      // max_memory_per_process, max_segments_per_process
	RefusedSystem                       // the system had no memory, or gave another reason
	RefusedJoin                         // max_processes
	RefusedLock                         // a wait for the control lock was given up. Subject: its holder
	lastEventKind  = RefusedLock
)

// Event is one entry of the ring, copied out.
type Event struct {
	Number      uint64 // from 0 in each generation; a gap is an event that was not kept
	Time        time.Time
	Kind        EventKind
	Subject     shmsync.Peer // in row -1 if there is none
	Actor       shmsync.Peer // the process that has done it, if that is another; in row -1 if not
	Pid         int          // the subject's, as it sees itself
	Application string       // the subject's
	Count       uint64       // what it counts: see the kind
	Bytes       uint64       // for Died, of the references that were given back
}

// note is an event that is about to be written: what its writer knows of it. The number and the time come with the
// writing.
type note struct {
	kind         EventKind
	subject      shmsync.Peer
	actor        uint64 // a peer's word, or 0
	pid          uint32
	application  [4]uint64
	count, bytes uint64
}

// recordEvent writes an event. It takes no lock and does not wait. If the process dies in it the row's seal is 0, or
// fits nothing: the event is lost, and no other.
func (t *Table) recordEvent(n note) {
	number := t.header.events.Add(1) - 1
	failpoint.Hit("control/event/taken")
	r := &t.ring[number%eventsKept]
	// The seal is taken off first and put on last, so at no moment does it fit a row that is half the old event and
	// half the new one.
	r.seal.Store(0)
	failpoint.Hit("control/event/unsealed")
	r.number.Store(number)
	r.time.Store(uint64(time.Now().UnixNano()))
	r.subject.Store(eventWord(n.subject))
	r.actor.Store(n.actor)
	failpoint.Hit("control/event/half-written")
	r.count.Store(n.count)
	r.bytes.Store(n.bytes)
	r.kind.Store(uint32(n.kind))
	r.pid.Store(n.pid)
	for i := range r.application {
		r.application[i].Store(n.application[i])
	}
	sum, _ := t.eventSeal(r)
	failpoint.Hit("control/event/unfinished")
	r.seal.Store(sum)
	failpoint.Hit("control/event/sealed")
}

// eventWord returns the word of a peer, or 0 if there is none.
func eventWord(p shmsync.Peer) uint64 {
	if p.Row < 0 {
		return 0
	}
	return p.Word()
}

// eventSeal returns the checksum of a row, and the row as it was when that was taken: each word is loaded once, for
// both. The checksum is never 0. The event is only worth something if the checksum is the row's seal.
func (t *Table) eventSeal(r *eventRow) (sum uint64, e Event) {
	var words [4]uint64
	sum = t.seed ^ 1<<63 // as no other checksum begins
	take := func(v uint64) uint64 { sum = mixRowCheck(sum ^ v); return v }
	e.Number = take(r.number.Load())
	e.Time = time.Unix(0, int64(take(r.time.Load())))
	e.Subject = shmsync.PeerOf(take(r.subject.Load()))
	e.Actor = shmsync.PeerOf(take(r.actor.Load()))
	e.Count = take(r.count.Load())
	e.Bytes = take(r.bytes.Load())
	e.Kind = EventKind(take(uint64(r.kind.Load())))
	e.Pid = int(take(uint64(r.pid.Load())))
	for i := range r.application {
		words[i] = take(r.application[i].Load())
	}
	e.Application = textOf(words)
	return max(sum, 1), e // 0 is a row that is being written
}

// Events returns what the ring has, in order. It takes no lock, and works on books of which every process is dead. Its
// error is ErrCorrupt, with what was read until then, if the books are gone.
func (t *Table) Events() (list []Event, err error) {
	err = contained(func() error {
		for i := range t.ring {
			r := &t.ring[i]
			seal := r.seal.Load()
			if seal == 0 {
				continue
			}
			// Hostile values: words that the seal does not fit, and a kind that this program does not know.
			if sum, e := t.eventSeal(r); sum == seal && e.Kind >= Began && e.Kind <= lastEventKind {
				list = append(list, e)
			}
		}
		return nil
	})
	slices.SortFunc(list, func(a, b Event) int { return cmp.Compare(a.Number, b.Number) })
	told := map[shmsync.Peer]bool{}
	list = slices.DeleteFunc(list, func(e Event) bool {
		if e.Kind != Died {
			return false
		}
		again := told[e.Subject]
		told[e.Subject] = true
		return again
	})
	return list, err
}

// Say logs an event about this member itself. It takes no lock.
func (m *Member) Say(kind EventKind) {
	_ = contained(func() error { m.recordOwnEvent(kind, 0); return nil })
}

// recordOwnEvent logs an event about this member, with faults as panics.
func (m *Member) recordOwnEvent(kind EventKind, count uint64) {
	m.t.recordEvent(note{kind: kind, subject: m.asPeer(), pid: uint32(m.who.Pid), application: m.application, count: count})
}
