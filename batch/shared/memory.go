package shared

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"

	"github.com/godsm/godsm/batch"
	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/sys/fault"
	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/shmsync"
)

// Kinds of failure, beside those of package batch. They match with errors.Is.
var (
	ErrMismatch = errkind.Mismatch // the queue is of another Options.Version
	ErrVersion  = errkind.Version  // the queue has another layout version
	ErrCorrupt  = shm.ErrCorrupt
	ErrSize     = errkind.Size // a command that Options.Command has no room for, or sizes that a queue can't have
	// ErrResult: the command was executed, but its result is not there: it was larger than Options.Result, or a leader that
	// was stopped for long has spoilt it.
	ErrResult = errors.New("the command was executed, and its result is lost")
	// ErrOpen: the session has the queue open already.
	ErrOpen = errors.New("the session has the queue open already")

	errClosed = errkind.As(errkind.Closed, batch.ErrClosed) // the queue is closed, or its session is
)

// memory is a queue's region as one session sees it.
type memory struct {
	shape shape
	parts
	name string // of the queue in a driver's table
	self shmsync.Self
	view *shm.View
	open atomic.Bool
}

// create lays a queue out in r, which is zero.
func create(r shm.Region, self shmsync.Self, o Options) (*memory, error) {
	o = o.withDefaults()
	s, err := o.shape()
	if err != nil {
		return nil, err
	}
	if r.Len() < s.end {
		return nil, errkind.As(ErrSize, fmt.Errorf("batch/shared: a queue of %d slots has %d bytes, the region has %d", s.slots, s.end, r.Len()))
	}
	m := &memory{shape: s, self: self, view: r.View()}
	return m, m.contained(func() (err error) {
		if m.parts, err = s.of(r); err != nil {
			return err
		}
		h := m.head
		h.version.Store(version)
		h.layout.Store(o.Version)
		h.born[0].Store(rand.Uint64())
		h.born[1].Store(rand.Uint64())
		h.slots.Store(uint32(s.slots))
		h.command.Store(uint32(s.command))
		h.result.Store(uint32(s.result))
		if o.Keep {
			h.keep.Store(1)
		}
		failpoint.Hit("batch/create/laid-out")
		h.magic.Store(magic)
		m.name = fmt.Sprintf("%016x%016x", h.born[0].Load(), h.born[1].Load())
		return nil
	})
}

// attach finds the queue that create has laid out.
func attach(r shm.Region, self shmsync.Self, o Options) (*memory, error) {
	m := &memory{self: self, view: r.View()}
	return m, m.contained(func() (err error) {
		h, err := shm.At[header](r, 0)
		if err != nil {
			return err
		}
		switch {
		case h.magic.Load() != magic:
			return errkind.As(ErrCorrupt, fmt.Errorf("batch/shared: the region begins with %#x and not with a queue", h.magic.Load()))
		case h.version.Load() != version:
			return errkind.OtherVersion("batch/shared: the queue", h.version.Load(), version, "the processes that have it attached")
		case h.layout.Load() != o.Version:
			return errkind.As(ErrMismatch, fmt.Errorf("batch/shared: the queue is of the program's version %d, not %d", h.layout.Load(), o.Version))
		}
		o = Options{Slots: int(h.slots.Load()), Command: int(h.command.Load()), Result: int(h.result.Load())}
		if m.shape, err = o.shape(); err != nil || r.Len() < m.shape.end {
			return errkind.As(ErrCorrupt, fmt.Errorf("batch/shared: the header is garbled: %d slots in %d bytes", o.Slots, r.Len()))
		}
		if m.parts, err = m.shape.of(r); err != nil {
			return err
		}
		m.name = fmt.Sprintf("%016x%016x", h.born[0].Load(), h.born[1].Load())
		return nil
	})
}

// contained runs f, which is at the shared bytes: not after the end of the session, and a fault is an error.
func (m *memory) contained(f func() error) (err error) {
	lease, err := m.view.Enter()
	if err != nil {
		return err
	}
	defer lease.Leave()
	defer fault.Return(&err, fault.Catch())
	return f()
}

// markReady sets the bit that says that a slot may be ready.
func (m *memory) markReady(slot int) {
	w, bit := &m.ready[slot/64], uint64(1)<<(slot%64)
	if w.Load()&bit == 0 {
		w.Or(bit)
	}
}

// leader returns who leads, and the epoch. ok is false if it is no session that is known to live.
func (m *memory) leader() (p shmsync.Peer, epoch uint64, ok bool) {
	w := leadWord(m.head.lead.Load())
	row := w.row()
	if row < 0 || row >= len(m.seats) {
		return p, w.epoch(), false
	}
	p = shmsync.Peer{Row: row, Incarnation: m.seats[row].incarnation.Load()}
	return p, w.epoch(), m.alive(p)
}

// alive reports whether a session lives, as far as this one knows. Of a peer that is no session it reports true, too.
func (m *memory) alive(p shmsync.Peer) bool {
	return p == m.self.Peer || p.Row < 0 || p.Row < len(m.seats) && m.self.Alive(p)
}

// wakeLeader wakes the leader, if it sleeps.
func (m *memory) wakeLeader() {
	if m.head.idle.Load() == 0 || !m.head.idle.CompareAndSwap(1, 0) {
		return
	}
	failpoint.Hit("batch/submit/rousing")
	if p, _, ok := m.leader(); ok {
		m.self.Mailbox.Ring(p, m.head.bit.Load())
	}
}

// ringSessions rings every session that may lead.
func (m *memory) ringSessions() {
	for row := range m.seats {
		if s := &m.seats[row]; s.leads.Load() != 0 {
			m.self.Mailbox.Ring(shmsync.Peer{Row: row, Incarnation: s.incarnation.Load()}, s.bit.Load())
		}
	}
}

// otherSessions reports whether another session that lives may lead.
func (m *memory) otherSessions() bool {
	for row := range m.seats {
		s := &m.seats[row]
		if row != m.self.Row && s.leads.Load() != 0 && m.alive(shmsync.Peer{Row: row, Incarnation: s.incarnation.Load()}) {
			return true
		}
	}
	return false
}

// ringOwner wakes the owner of a slot.
func (m *memory) ringOwner(slot int) {
	m.self.Mailbox.Ring(peerOf(m.blocks[slot/perBlock].owner.Load()), m.slots[slot].bit.Load())
}
