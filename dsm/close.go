package dsm

import (
	"context"
	"errors"
	"time"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/sys/goid"
)

// The end of a session, which goes forward only and in one order: no call begins, the views end, hooks and owners give
// back what they hold, the bytes are swapped, the references go, and last the row. The row is last because other
// sessions take this one for dead from then on, and its locks for abandoned: by that time none of its stores can reach
// them.
//
// A process that dies after any step leaves a dead session with what it held by then. The comments name for each
// failpoint what that is; reclaim gives it back.

// Close ends the session: no call begins any more, those in flight are waited for, every view ends, every segment is
// detached, and the row is given up. It waits for functions of OnDetach and releases of owners, for calls in flight,
// and for the control lock; there is no bound on hooks that do not return.
//
// Before the row is given up everything that the session has mapped is swapped for private zeros (in checked mode it
// becomes inaccessible). So what goroutines still do with slices or structures reaches no other process and does not
// fault, and to other sessions this one is then like one that was killed: the locks that it
// held are Abandoned.
//
// A With that is still running keeps its bytes and the session's row, and so its locks, until it returns; Close does
// not wait for it. Closing twice is harmless; the second call waits for the first.
//
// From inside a function that Close has called (of OnDetach, or a release of an owner) Close is ErrDeadlock at once,
// and from a goroutine that such a function may wait for it is ErrDeadlock after a second; the session ends all the
// same. From inside a release of an owner that is being ended it is ErrDeadlock too, and changes nothing.
func (s *Session) Close() (err error) {
	if s == nil || s.member == nil {
		return wrapErr("close", 0, "", errUnopened)
	}
	me := goid.Current()
	may := s.owner.MayEnd()
	s.mu.Lock()
	if s.state != sessionOpen || may != nil {
		closed := s.state != sessionOpen
		s.mu.Unlock()
		if closed {
			may = s.awaitClosed(me)
		}
		return wrapErr("close", 0, s.backend(), may)
	}
	// From here on begin refuses calls; those in flight may still use the books.
	s.state, s.closer = sessionClosing, me
	s.endLocked(ErrClosed)
	s.waitCallsIdleLocked()
	s.state = sessionReturning
	s.mu.Unlock()
	// A process that dies here has its row and everything it holds: reclaim gives all of it back, as after any death.
	failpoint.Hit("dsm/close/idle")

	var errs []error
	ended, aborted, returned := false, false, false
	defer func() { // also when a hook, or a function of a view, ends the goroutine
		errs = append(errs, s.finishClose())
		s.mu.Lock()
		err = wrapErr("close", 0, s.backend(), errors.Join(append(errs, s.lost)...))
		if !returned {
			s.closeErr = err
		}
		s.mu.Unlock()
		close(s.gone)
	}()
	defer func() {
		s.detachUnowned(&errs)
		returned = aborted
	}()
	defer func() {
		// Deferred, like the steps above, so that the session ends also if a function that the step before has called
		// ends this goroutine. Deferred calls run in the opposite order: owners, then slipped Segments, then finish.
		s.aborting.Store(true)
		errs = append(errs, s.owner.Abort())
		aborted = ended
	}()
	s.view.End()
	// A death here leaves the same.
	failpoint.Hit("dsm/close/ended")
	ended = true
	return nil
}

// awaitClosed waits for the Close that is under way, and returns its error. It returns ErrDeadlock where that Close
// waits, or may wait, for this call: at once in Close's own goroutine, after a second of one hook elsewhere. Me is the
// goroutine of the call.
func (s *Session) awaitClosed(me uint64) error {
	for {
		select {
		case <-s.gone:
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.closeErr
		default:
		}
		h, inside := s.runningHook(), me != 0 && me == s.closer
		switch {
		case h != nil && inside:
			return deadlock(h, "which it has called")
		case h != nil && time.Since(h.began) >= patience:
			return deadlock(h, "which has run for a second and may wait for this call")
		}
		if err := s.owner.MayEnd(); err != nil {
			return err
		}
		if inside {
			return errkind.As(ErrDeadlock, errors.New("Close calls itself"))
		}
		select {
		case <-s.gone:
			continue
		case <-time.After(patience):
		}
		if h = s.runningHook(); h == nil && s.aborting.Load() {
			if err := s.owner.Abort(); errors.Is(err, ErrDeadlock) { // waits as long for a release
				return err
			}
		}
	}
}

// patience is how long a second Close waits for one function that the first has called.
const patience = time.Second

// keepErrForClose keeps for Close the error of a Detach whose goroutine has ended, and which no caller gets.
func (s *Session) keepErrForClose(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != sessionOpen {
		s.lost = errors.Join(s.lost, err)
	}
}

// finishClose does what Close does after the hooks: it swaps the bytes that are used no longer, drops the references,
// and gives up the row unless bytes are lent. A function of With may return while it runs; so it looks for such
// attachments until there are none, and moves to sessionLent under the same lock.
func (s *Session) finishClose() error {
	// A death here leaves the row, and references of Segments that are parked or lent. Reclaim gives them back.
	failpoint.Hit("dsm/close/detached")
	s.waitUnswappedLeases()
	var errs []error
	for first := true; ; first = false {
		s.mu.Lock()
		over := s.overAttachmentsLocked()
		if len(over) == 0 && !first {
			break
		}
		s.mu.Unlock() // a function of With may return meanwhile
		errs = append(errs, s.swapOverAttachments(over, first))
	}
	// Under the lock since overLocked: no attachment is over that was not given up, so what is listed now is lent.
	s.state = sessionLent
	lends := s.attachments != nil
	s.mu.Unlock()
	if lends {
		errs = append(errs, s.member.Self.SayClosing())
	} else {
		errs = append(errs, s.leaveAndUnmap())
	}
	return errors.Join(errs...)
}

// leaveAndUnmap gives up the row and unmaps the books. Close calls it or, if Close has lent bytes, the call that gives
// back the last of them. It waits for calls in flight and for the watcher. If this process dies on the way, the row is
// a dead one's, and all that it holds is reclaimed.
func (s *Session) leaveAndUnmap() error {
	s.mu.Lock()
	s.state = sessionLeft
	s.waitCallsIdleLocked()
	s.mu.Unlock()
	s.stopWatching()
	err := s.closeRow()
	// A death from here on leaves nothing in the books: the row is free. Of a private instance that this session is the
	// last to leave, the next process of the user that looks for such instances removes what is left.
	failpoint.Hit("dsm/close/left")
	deserted := s.lastOfPrivate()
	err = errors.Join(err, s.unmapRegion(), s.unmapControl())
	s.member.Books.Close() // some systems don't remove files that are open
	if deserted {
		s.cleanPrivate()
	}
	s.member.Books.Dir.Close()
	return err
}

// closeRow releases the session's row. If the instance has ended, it tries for at most a second, and a failure is
// harmless and ignored: the row ends with the instance.
func (s *Session) closeRow() error {
	if s.Err() == ErrClosed {
		return s.member.Leave(context.Background())
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = s.member.Leave(ctx)
	return nil
}

// logLateCloseErr logs an error that no call returns, and keeps it for Close if Close has not returned yet.
func (s *Session) logLateCloseErr(err error) {
	s.log.Warn().Err(err).Str("event", "view-end-failed").Msg("the end of a view")
	s.keepErrForClose(err)
}
