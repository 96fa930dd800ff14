package control

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/godsm/godsm/shm/shmsync"
)

// A section is a stretch of work under the control lock. This file enters and leaves sections, and makes errors of what
// goes wrong inside them. It is about order in one moment: what a section stores, and in which order, is the business of
// the file that enters it.
//
// A section ends in one of three ways, and the table is whole after each of them:
//
//   - It is left. Then its author has stored a table that may exist outside of sections.
//   - It panics, by a fault or by an index that came from garbled bytes. Then leaveSection repairs the table, unlocks, and the
//     call is ErrCorrupt.
//   - Its process dies. Then the lock names a dead holder. The next process that enters finds that out, takes the lock
//     over, and repairs before it does anything else.

// errBusy is the answer to an entrance that does not wait, and is not seen outside of this package.
var errBusy = errors.New("the control lock is held")

// entrance is a way to enter a section: how long it waits, and how soon it asks whether the holder of the lock lives.
type entrance struct {
	patience time.Duration // bounds the wait for the lock where the caller's context does not
	seize    bool          // there is reason to think its holder dead: ask at once
}

var (
	plain   = entrance{patience: 10 * time.Second}
	brief   = entrance{patience: time.Second} // for what can be done later
	atOnce  = entrance{}                      // does not wait at all
	seizing = entrance{patience: 10 * time.Second, seize: true}
)

// section is a stretch of work under the control lock. Stores in it may fault (a process truncated the segment) or
// find nonsense: that ends the section, repairs and unlocks, and is ErrCorrupt.
//
//	s, err := m.enter(ctx, plain)
//	if err != nil { return err }
//	defer s.leave(&err)
//
// A section stays in one goroutine, since the setting by which faults become panics is the goroutine's.
type section struct {
	m     *Member
	guard shmsync.MutexGuard
	fault bool // what SetPanicOnFault was
	died  bool // a death was logged: sessions that want to hear of deaths are told after the section
	tells bool // the same for a member that has left
}

// enter waits for the control lock, as how says, and begins a section. It repairs the table first if the lock was taken
// over from a dead holder. A member that has left is ErrClosed, one whose row another session has is ErrStale, and a
// lock that is unavailable in time a BusyError; then there is no section, and the caller must not call leave.
func (m *Member) enter(ctx context.Context, how entrance) (s section, err error) {
	if m.left.Load() {
		return s, ErrClosed
	}
	s = section{m: m, fault: debug.SetPanicOnFault(true)}
	locked := false
	defer func() {
		if r := recover(); r != nil {
			err = errOfPanic(r)
		}
		if err != nil {
			if locked {
				s.unlock()
			}
			debug.SetPanicOnFault(s.fault)
		}
	}()
	var waited time.Duration
	if s.guard, waited, err = m.lock(ctx, how); err != nil {
		return s, err
	}
	locked = true
	// The counting is the first thing done under the lock, since a tally's words have one writer at a time.
	if waited > 0 {
		add(&m.tally.lockWaits, 1)
		add(&m.tally.lockWaitTime, uint64(waited))
	}
	// The repair comes before the look at this member's own row: the row's word may be one of the things that the dead
	// holder has left half-changed, and a member that is refused below must not leave an unrepaired table behind.
	if dead, abandoned := s.guard.Abandoned(); abandoned {
		s.died = m.repairLocked(dead)
	}
	// Hostile value: a word that is not of this incarnation. A session that was reclaimed or joined over would change a
	// table in which its row's bits are another session's.
	if w := m.t.processes[m.row].word.Load(); w != usedBy(m.incarnation) {
		return s, m.errDisplaced(w)
	}
	return s, nil
}

// lock takes the control lock, and returns how long it has waited, 0 if it has not. Once it has the lock it touches no
// shared byte: at a fault the guard would be lost, and with it the lock to this process.
func (m *Member) lock(ctx context.Context, how entrance) (g shmsync.MutexGuard, waited time.Duration, err error) {
	if g, ok := m.mutex.TryLock(); ok {
		return g, 0, nil
	}
	if how == atOnce {
		return shmsync.MutexGuard{}, 0, errBusy
	}
	began := time.Now()
	g, err = m.waitForLock(ctx, how)
	return g, max(time.Since(began), 1), err
}

// waitForLock waits for the control lock until ctx is over, and askAfter and how.patience at most. A holder that dies
// ends the wait within some 50 ms, since the lock asks the Witness from time to time. A holder that lives and seems
// idle is asked whether it holds the lock at all. If the lock is not to be taken the refusal is counted and logged,
// which needs no lock.
func (m *Member) waitForLock(ctx context.Context, how entrance) (shmsync.MutexGuard, error) {
	lock := m.mutex.Lock
	if how.seize {
		lock = m.mutex.LockOwnerDead
	}
	g, err := lockWithin(ctx, askAfter, lock)
	if err == nil {
		return g, nil
	}
	if h, held := m.t.header.lock.Owner(); held && ctx.Err() == nil { // it may be named by a stray store alone
		m.Ask(h)
	}
	if g, err = lockWithin(ctx, how.patience, lock); err == nil {
		return g, nil
	}
	refusals := m.tally.lockRefused.Add(1)
	// Hostile value: a holder's row beyond the process table, which a garbled lock word can name.
	if h, held := m.t.header.lock.Owner(); held && h.Row < len(m.t.processes) {
		p := m.t.processInfo(h.Row)
		if refusalDue(&m.told[RefusedLock-RefusedRows]) {
			m.t.recordEvent(note{kind: RefusedLock, subject: shmsync.Peer{Row: h.Row, Incarnation: p.Incarnation}, actor: m.asPeer().Word(),
				pid: uint32(p.Pid), application: textWords(p.Application), count: refusals})
		}
		return g, &BusyError{Pid: p.Pid, Application: p.Application, Cause: err}
	}
	return g, err
}

// askAfter is how long a holder of the lock that seems to live is waited for before it is asked whether it holds it.
const askAfter = 50 * time.Millisecond

// lockWithin runs lock with a context that also ends after patience, and then says so.
func lockWithin(ctx context.Context, patience time.Duration,
	lock func(context.Context) (shmsync.MutexGuard, error)) (shmsync.MutexGuard, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, patience,
		fmt.Errorf("waited %v: %w", patience, context.DeadlineExceeded))
	defer cancel()
	return lock(ctx)
}

// leaveSection ends the section; it must be deferred itself, so that it can recover. A panic inside the section
// becomes *err. It repairs the table before it unlocks, so that no other process sees what the panic left
// half-changed.
func (s *section) leaveSection(err *error) {
	if r := recover(); r != nil {
		*err = errOfPanic(r)
		s.repairQuietlyLocked()
	}
	s.unlock()
	if s.died || s.tells {
		s.m.t.tellWatchers(shmsync.NewsDeath)
	}
	debug.SetPanicOnFault(s.fault)
}

// repairQuietlyLocked repairs the table after a panic. The caller holds the control lock. A second panic ends it, since
// then the bytes themselves are gone and there is nothing to make whole.
func (s *section) repairQuietlyLocked() {
	defer func() { _ = recover() }()
	s.m.repairTableLocked()
}

// unlock gives the control lock back. A fault in doing so is of no matter: the word is gone with its bytes.
func (s *section) unlock() {
	defer func() { _ = recover() }()
	s.guard.Unlock()
}

// errOfPanic makes an error of what a section panicked with. All that it returns is ErrCorrupt.
func errOfPanic(r any) error {
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

// contained runs f with faults as errors, outside of any section.
func contained(f func() error) (err error) {
	defer recoverFault(&err, debug.SetPanicOnFault(true))
	return f()
}

// recoverFault ends a stretch in which faults are errors; it must be deferred itself. Was is what
// debug.SetPanicOnFault was.
func recoverFault(err *error, was bool) {
	if r := recover(); r != nil {
		*err = errOfPanic(r)
	}
	debug.SetPanicOnFault(was)
}
