package batch

import (
	"errors"
	"math/rand/v2"
	"time"
)

// handleError decides what becomes of the flush after an error. The run was of entries f.pos up to hi, and the statement that
// failed was of entries lo up to up; for an error at commit both are all that the transaction has executed.
//
//	class       whole                guarded                            apart
//	row, batch  again, guarded       one entry: it has failed; more:    as guarded; one entry has failed for good
//	                                 halves; at commit, or if the
//	                                 transaction is gone: again, apart
//	transient   again after a pause, in every mode; from the third time on in shorter transactions
//	lost        again; the second time apart, in halves; one that is poison has failed
//	fatal       all that is not answered has failed
func (f *flush[Cmd, Res]) handleError(lo, up, hi int, err error) {
	if f.e.ctx.Err() != nil {
		return // run answers these calls
	}
	if lo == up { // the commit of nothing
		f.rollback(err)
		f.retry(err)
		return
	}
	i := f.entries[lo].first.interact
	if i != nil && errors.Is(err, errBudget) {
		i.alone = true
		if !f.alive() {
			f.rollback(err)
		}
		return
	}
	switch class := f.e.driver.Class(err); class {
	case Transient:
		f.e.count(func(s *Stats) { s.Retries++ })
		if f.tries > 1 { // the longer a transaction is, the more it meets
			f.most = max(1, (hi-f.from)/2)
		}
		f.rollback(err)
		f.retry(err)
	case Lost:
		f.handleLostConnection(hi, err)
	case Fatal:
		f.rollback(err)
		f.fail(len(f.entries), &Error{Class: class, Err: err})
	default:
		f.handleRefusal(lo, up, err)
	}
}

// handleRefusal sees to an error of one command, or of several that are one statement.
func (f *flush[Cmd, Res]) handleRefusal(lo, up int, err error) {
	atCommit := up == f.pos
	one := up-lo == 1 && lo == f.pos // all that goes before it has been executed
	switch {
	case f.merged > 0 && !f.unmerged:
		f.rollback(err)
		f.unmerged, f.mode = true, guarded
		f.replan()
	case one && f.mode != apart && (f.mode == guarded || f.entries[lo].first.interact != nil) && f.alive():
		f.entries[lo].err = err
		f.pos = up
		f.search.noteFound()
	case up-lo == 1 && lo == f.from && (f.mode == apart || f.isAlone(lo)):
		f.rollback(err)
		f.fail(up, &Error{Class: f.e.driver.Class(err), Err: err})
		f.search.noteFound()
	case f.mode == whole:
		f.rollback(err)
		f.mode = guarded
		if !atCommit {
			f.search.noteFailed(lo, up)
		}
	case f.mode == guarded && !atCommit && f.alive():
		f.search.noteFailed(lo, up)
	default:
		f.rollback(err)
		f.mode = apart
		f.search.noteFailed(lo, up)
	}
}

// isAlone reports whether an entry is an interaction in a transaction of its own. One that spoils the transaction of
// others becomes one.
func (f *flush[Cmd, Res]) isAlone(x int) bool {
	i := f.entries[x].first.interact
	if i == nil {
		return false
	}
	was := i.alone
	i.alone = true
	return was
}

// handleLostConnection sees to a lost connection, where nothing was committed.
func (f *flush[Cmd, Res]) handleLostConnection(hi int, err error) {
	from := f.from
	f.rollback(err)
	f.cause = err
	f.lost++
	f.e.count(func(s *Stats) { s.Lost++ })
	switch {
	case f.merged > 0 && !f.unmerged:
		if f.lost > 1 {
			f.unmerged, f.mode = true, apart
			f.replan()
		}
	case hi-from == 1:
		f.suspect()
	case f.lost < 2:
	default:
		f.mode = apart
		f.search.noteFailed(from, hi)
	}
	f.retry(err)
}

// pauses between tries.
const (
	leastPause = time.Millisecond
	mostPause  = 100 * time.Millisecond
)

// pause waits before the next try: longer each time, and never as long as others that have failed at the same moment.
func (f *flush[Cmd, Res]) pause() {
	d := min(leastPause<<min(f.tries, 10), mostPause)
	f.tries++
	timer := time.NewTimer(d/2 + rand.N(d))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-f.e.ctx.Done():
	}
}

// retry waits, and lets go of those calls whose callers have left. Calls can be withdrawn during the wait.
func (f *flush[Cmd, Res]) retry(err error) {
	f.e.noteTrouble(err)
	f.each(func(c *call[Cmd, Res]) { c.takeBack() })
	f.pause()
	for _, c := range f.e.queue.withdrawEnded(nil) { // a retry may take long
		f.e.tellWithdrawn(c)
	}
	f.calls = f.calls[:0]
	fewer := false
	f.each(func(c *call[Cmd, Res]) {
		if c.ctx != nil && c.ctx.Err() != nil && c.move(waiting, withdrawn) || !c.move(waiting, taken) {
			fewer = true
			f.e.endWithdrawn(c)
		} else {
			f.calls = append(f.calls, c)
		}
	})
	if fewer {
		f.make()
	}
}

// settle finds out whether the transaction was committed whose COMMIT has had no answer.
func (f *flush[Cmd, Res]) settle(cause error) (committed, known bool) {
	defer func() {
		if committed || !known { // otherwise handleLostConnection counts it
			f.e.count(func(s *Stats) { s.Lost++ })
		}
	}()
	for f.e.ctx.Err() == nil {
		ok, err := f.e.driver.Settle(f.e.ctx, f.number)
		if err == nil {
			f.e.count(func(s *Stats) { s.Settled++ })
			return ok, true
		}
		if errors.Is(err, ErrUnsettled) {
			break
		}
		if class := f.e.driver.Class(err); class != Transient && class != Lost {
			break
		}
		f.e.noteTrouble(errors.Join(cause, err))
		f.pause()
	}
	f.e.count(func(s *Stats) { s.Unsettled++ })
	return false, false
}

// search finds the entries that fail: it knows a range of which one is to blame, and halves it.
type search struct {
	lo, hi int // the range; empty if none is known
	bad    int // entries that were found
}

// noteFailed notes that a statement of entries lo up to hi has failed.
func (s *search) noteFailed(lo, hi int) { s.lo, s.hi = lo, hi }

// noteFound notes that an entry was found.
func (s *search) noteFound() { s.lo, s.hi = 0, 0; s.bad++ }

// nextRunEnd returns the end of the run that begins at pos, where there are n entries. Where two have been found, runs are as
// long as it was from one to the next: with many of them it goes entry by entry.
func (s *search) nextRunEnd(pos, n int) int {
	lo := max(s.lo, pos)
	switch {
	case lo >= s.hi && s.bad <= 1:
		return n
	case lo >= s.hi:
		return min(n, pos+max(1, pos/s.bad))
	case s.hi-lo > 1:
		return (lo + s.hi) / 2
	case lo > pos:
		return lo
	}
	return s.hi
}
