// Package control keeps the books of an instance: which segments there are, who holds them, and who is alive enough to
// hold anything. The books lie in the control segment, which every session has mapped.
//
// It knows bytes and rules and no operating system. It works over a shm.Region; what it needs from outside is the
// Witness, which knows the living from the dead. So it can be run over a heap slice, killed between any two
// stores, fuzzed and garbled without a system call.
//
// What it adds over a backend: references are bits, one for each process row, so exactly those of a dead
// process can be given back; every change that also concerns the operating system is written down before
// the system is asked, so that any process that is left can finish it. What it does not promise: that a
// backend's object exists (a process may have removed it), or anything about a segment's content.
//
// # Rules
//
// A segment row is free, creating, live or destroying. Creating and destroying rows name their agent, the
// process that is at work on the object outside the lock:
//
//	free -> creating(agent) -> live -> destroying(agent) -> free
//
// The process that finds an agent dead takes its place; no process takes the place of one that lives, however slow. The word
// with state and agent is stored at once and last in its section. A live row with no bit and no pin exists only
// inside a section, or after its author died in one: the process that takes the lock over from the dead repairs that.
//
// A process row is free or used, by an incarnation that goes up at each use. The member that uses a row holds its
// witness. A row whose witness is free is dead, and may be reclaimed by any process, or joined over: then the newcomer
// begins by reclaiming its predecessor.
package control

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/shm/shmsync"
)

// Kinds of failure; package dsm exports the same values.
var (
	ErrNotFound         = errkind.NotFound
	ErrTooManySegments  = errkind.TooManySegments
	ErrTooManyProcesses = errkind.TooManyProcesses
	ErrQuota            = errkind.Quota
	ErrCorrupt          = errkind.Corrupt
	ErrStale            = errkind.Stale
	ErrClosed           = errkind.Closed
	ErrInUse            = errkind.InUse
)

// Witness knows which process rows have a living user. Its methods don't block. Held may err to true for a
// moment after a death, never to false.
type Witness interface {
	Take(row int) (bool, error) // false: another process's
	Drop(row int) error
	Held(row int) bool // by any process, this process too
}

// successor is implemented by a Witness that may be of a members file in whose place another comes in force (Succeed).
type successor interface {
	InForce() bool // what it has taken is asked for
}

func inForce(w Witness) bool {
	s, ok := w.(successor)
	return !ok || s.InForce()
}

// SupervisorRow is the process row of the supervisor; joins take it only by name.
const SupervisorRow = 0

// BusyError says that the control lock was unavailable in time, and who holds it.
type BusyError struct {
	Pid         int
	Application string
	Cause       error
}

func (e *BusyError) Error() string {
	return fmt.Sprintf("the control lock is held by process %d (%s): %v", e.Pid, e.Application, e.Cause)
}

func (e *BusyError) Unwrap() error { return e.Cause }

var errBusy = errors.New("the control lock is held")

// entrance is a way to enter a section.
type entrance struct {
	patience time.Duration // bounds the wait for the lock where the caller's context does not
	seize    bool          // there is reason to think its holder dead
}

var (
	plain   = entrance{patience: 10 * time.Second}
	brief   = entrance{patience: time.Second} // for what can be done later
	atOnce  = entrance{}
	seizing = entrance{patience: 10 * time.Second, seize: true}
)

// section is a stretch of work under the control lock. Stores in it may fault (a process truncated the segment) or
// find nonsense: that ends the section, repairs and unlocks, and is ErrCorrupt.
//
//	s, err := m.enter(ctx, plain)
//	if err != nil { return err }
//	defer s.leave(&err)
type section struct {
	m     *Member
	guard shmsync.MutexGuard
	fault bool // what SetPanicOnFault was
	died  bool // a death was logged
	tells bool // those that want to hear of deaths are to look
}

func (m *Member) enter(ctx context.Context, how entrance) (s section, err error) {
	if m.left.Load() {
		return s, ErrClosed
	}
	s = section{m: m, fault: debug.SetPanicOnFault(true)}
	locked := false
	defer func() {
		if r := recover(); r != nil {
			err = corruption(r)
		}
		if err != nil {
			if locked {
				s.unlock()
			}
			debug.SetPanicOnFault(s.fault)
		}
	}()
	if s.guard, err = m.lock(ctx, how); err != nil {
		return s, err
	}
	locked = true
	if dead, abandoned := s.guard.Abandoned(); abandoned {
		s.died = m.repair(dead)
	}
	if w := m.t.processes[m.row].word.Load(); w != usedBy(m.incarnation) {
		return s, m.displaced(w)
	}
	return s, nil
}

func (m *Member) lock(ctx context.Context, how entrance) (shmsync.MutexGuard, error) {
	if g, ok := m.mutex.TryLock(); ok {
		return g, nil
	}
	if how == atOnce {
		return shmsync.MutexGuard{}, errBusy
	}
	began := time.Now()
	g, err := m.waitForLock(ctx, how)
	if err == nil {
		add(&m.tally.lockWaits, 1)
		add(&m.tally.lockWaitTime, uint64(time.Since(began)))
	}
	return g, err
}

func (m *Member) waitForLock(ctx context.Context, how entrance) (shmsync.MutexGuard, error) {
	lock := m.mutex.Lock
	if how.seize {
		lock = m.mutex.Seize
	}
	g, err := within(ctx, askAfter, lock)
	if err == nil {
		return g, nil
	}
	if h, held := m.t.header.lock.Owner(); held && ctx.Err() == nil { // it may be named by a stray store alone
		m.Ask(h)
	}
	if g, err = within(ctx, how.patience, lock); err == nil {
		return g, nil
	}
	refusals := m.tally.lockRefused.Add(1)
	if h, held := m.t.header.lock.Owner(); held && h.Row < len(m.t.processes) {
		p := m.t.process(h.Row)
		if due(&m.told[RefusedLock-RefusedRows]) {
			m.t.record(note{kind: RefusedLock, subject: shmsync.Peer{Row: h.Row, Incarnation: p.Incarnation}, actor: m.asPeer().Word(),
				pid: uint32(p.Pid), application: textWords(p.Application), count: refusals})
		}
		return g, &BusyError{Pid: p.Pid, Application: p.Application, Cause: err}
	}
	return g, err
}

// askAfter is how long a holder of the lock that seems to live is waited for before it is asked whether it holds it.
const askAfter = 50 * time.Millisecond

func within(ctx context.Context, patience time.Duration,
	lock func(context.Context) (shmsync.MutexGuard, error)) (shmsync.MutexGuard, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, patience,
		fmt.Errorf("waited %v: %w", patience, context.DeadlineExceeded))
	defer cancel()
	return lock(ctx)
}

// leave ends the section; it must be deferred itself, so that it can recover.
func (s *section) leave(err *error) {
	if r := recover(); r != nil {
		*err = corruption(r)
		s.repairQuietly()
	}
	s.unlock()
	if s.died || s.tells {
		s.m.t.tell(shmsync.NewsDeath)
	}
	debug.SetPanicOnFault(s.fault)
}

func (s *section) repairQuietly() {
	defer func() { _ = recover() }() // the bytes themselves are gone
	s.m.settle()
}

func (s *section) unlock() {
	defer func() { _ = recover() }()
	s.guard.Unlock()
}

// corruption makes an error of what a section panicked with.
func corruption(r any) error {
	if err, ok := r.(error); ok {
		if errors.Is(err, ErrCorrupt) {
			return err
		}
		if _, fault := r.(interface{ Addr() uintptr }); fault { // the runtime calls it a nil pointer
			return fmt.Errorf("control segment: %w: its bytes are gone from under the mapping: "+
				"another process truncated the object, or its file system failed", ErrCorrupt)
		}
		return fmt.Errorf("control segment: %w: %w", ErrCorrupt, err)
	}
	return fmt.Errorf("control segment: %w: %v", ErrCorrupt, r)
}
