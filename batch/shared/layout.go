package shared

import (
	"structs"
	"sync/atomic"

	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/shmsync"
)

const (
	magic   = 0x3163_7461_6273_6764 // "dgsbatc1", in the order of little-endian bytes
	version = 1

	perBlock  = 32 // slots
	mostSlots = 1 << 16
)

// header is at the start of a queue's region. All above lead is written once, by Create, and magic last.
type header struct {
	_       structs.HostLayout
	magic   atomic.Uint64
	version atomic.Uint64
	layout  atomic.Uint64 // Options.Version, and what the programs say of their codecs
	born    [2]atomic.Uint64
	slots   atomic.Uint32
	command atomic.Uint32 // bytes
	result  atomic.Uint32
	keep    atomic.Uint32 // 1: Options.Keep
	_       [8]byte

	lead  atomic.Uint64 // see leadWord
	beat  atomic.Uint64 // goes up while the leader lives; by the leader
	idle  atomic.Uint32 // 1: the leader sleeps; by the leader, and taken by the session that rings it
	bit   atomic.Uint32 // of the leader's mailbox; by the leader
	short atomic.Uint32 // sessions that wait for their first block
	_     [44]byte

	backend text // of the leader's driver; by the leader
	trouble text // why a flush is tried again; by the leader, for people
	stats   stats
}

// stats are the leader's figures, for people: the sums of all leaders. By the leader.
type stats struct {
	_                                                     structs.HostLayout
	commands, failed, commits, steps, merged, bisected    atomic.Uint64
	retries, lost, settled, unsettled, takeovers, dropped atomic.Uint64
	poisoned                                              atomic.Uint64
	p50, p99                                              atomic.Int64 // ns
	troubled                                              atomic.Int64 // since when a flush is tried again, ns; 0: it is not
}

// seat is what a session says of itself, in its row. By the session.
type seat struct {
	_           structs.HostLayout
	incarnation atomic.Uint32 // 0: it has not opened the queue
	bit         atomic.Uint32
	leads       atomic.Uint32 // 1: it has a driver
	_           [4]byte
}

// block is the owner of perBlock slots.
type block struct {
	_      structs.HostLayout
	owner  atomic.Uint64 // see ownerOf. By compare-and-swap
	orphan atomic.Uint32 // 1: the owner has closed the queue, and counts as dead. By the owner
	_      [52]byte
}

// slot is one command. What is not the word's is stored by the owner while the slot is taken, but for the result, which is
// the leader's while it is claimed.
type slot struct {
	_      structs.HostLayout
	word   atomic.Uint64 // see word
	number atomic.Uint64 // of this use of the slot
	order  atomic.Uint64 // of the owner's commands
	stream atomic.Uint64 // of Ordered; 0: none
	since  atomic.Int64  // ns
	bit    atomic.Uint32 // to ring
	length atomic.Uint32 // of the command
	sum    atomic.Uint32 // of the command and the number
	deaths atomic.Uint32 // leaders that have died with it. By the leader
	alone  atomic.Uint32 // leaders that have died while it was alone, and underWay while it is. By the leader
	kind   atomic.Uint32 // of the result. By the leader, as what follows
	extent atomic.Uint32 // of the result
	check  atomic.Uint32 // of the result and the number
	_      [56]byte
}

// A shape is where the parts of a queue lie.
type shape struct {
	slots, command, result                               int
	seatsAt, readyAt, blocksAt, slotsAt, commandsAt, end int
	resultsAt                                            int
}

func shapeOf(slots, command, result int) shape {
	s := shape{slots: slots, command: command, result: result}
	s.seatsAt = 1024
	s.readyAt = s.seatsAt + shmsync.MaxRows*16
	s.readyAt = (s.readyAt + 63) &^ 63
	s.blocksAt = (s.readyAt + slots/8 + 63) &^ 63
	s.slotsAt = s.blocksAt + slots/perBlock*64
	s.commandsAt = s.slotsAt + slots*128
	s.resultsAt = s.commandsAt + slots*command
	s.end = s.resultsAt + slots*result
	return s
}

// parts are what lies in a region.
type parts struct {
	head     *header
	seats    []seat
	ready    []atomic.Uint64 // a bit for each slot that may be ready
	blocks   []block
	slots    []slot
	commands []byte
	results  []byte
}

func (s shape) of(r shm.Region) (p parts, err error) {
	if p.head, err = shm.At[header](r, 0); err != nil {
		return p, err
	}
	if p.seats, err = shm.SliceOf[seat](r, shm.Offset(s.seatsAt), shmsync.MaxRows); err != nil {
		return p, err
	}
	if p.ready, err = shm.SliceOf[atomic.Uint64](r, shm.Offset(s.readyAt), s.slots/64); err != nil {
		return p, err
	}
	if p.blocks, err = shm.SliceOf[block](r, shm.Offset(s.blocksAt), s.slots/perBlock); err != nil {
		return p, err
	}
	if p.slots, err = shm.SliceOf[slot](r, shm.Offset(s.slotsAt), s.slots); err != nil {
		return p, err
	}
	if p.commands, err = r.Bytes(shm.Offset(s.commandsAt), s.slots*s.command); err != nil {
		return p, err
	}
	p.results, err = r.Bytes(shm.Offset(s.resultsAt), s.slots*s.result)
	return p, err
}

func (s *slot) load() word { return word(s.word.Load()) }

// move tries a move of a slot, and reports whether the slot was in that state.
func (s *slot) move(from, to word) bool { return s.word.CompareAndSwap(uint64(from), uint64(to)) }
