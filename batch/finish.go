package batch

import "errors"

// finishes reports whether the run up to hi is all of the flush, and may be executed and committed in one go. Others have
// their results before COMMIT is sent.
func (f *flush[Cmd, Res]) finishes(hi int) bool {
	if f.mode != whole || f.pos > 0 || hi < len(f.entries) || f.interactions > 0 || f.merged > 0 || f.writes > 0 && hi > 1 {
		return false
	}
	_, ok := f.tx.(Finisher[Cmd, Res])
	return ok
}

// finish executes all entries and commits them.
func (f *flush[Cmd, Res]) finish() {
	hi := len(f.entries)
	lo, up, ran, err := f.finishing(hi)
	if err == nil {
		f.pos = hi
		if f.storeSharedResults() { // of reads
			f.committed()
		}
		return
	}
	class := f.e.driver.Class(err)
	known, ok := errors.AsType[*Error](err)
	switch {
	case ok && known.Executed == Yes:
		f.tellWritten(hi, false)
		f.tx = nil
		f.fail(hi, known)
	case ran || class == Lost:
		f.pos = hi
		f.uncommitted(err, ran)
	case class == Row && hi == 1 && f.e.ctx.Err() == nil: // it was alone
		f.rollback(err)
		f.fail(hi, &Error{Class: class, Err: err})
	default:
		f.handleError(lo, up, hi, err)
	}
}

// finishing lets the driver execute and commit all entries.
func (f *flush[Cmd, Res]) finishing(hi int) (lo, up int, ran bool, err error) {
	defer func() {
		if v := recover(); v != nil {
			lo, up, ran, err = f.pos, hi, false, panicked("the driver", v)
			f.broken = true
		}
	}()
	a, b, ran, err := f.tx.(Finisher[Cmd, Res]).Finish(f.e.ctx, f.statements(hi))
	if err == nil || ran {
		_, _, _ = f.handleCommandErrors(hi) // commands that are refused alone; none is merged
	}
	if err != nil {
		lo, up = f.blamedEntries(a, b, hi)
	}
	return lo, up, ran, err
}

// finished returns a future whose outcome is known.
func finished[Res any](err error) *Future[Res] {
	f := &Future[Res]{done: make(chan struct{}), err: err}
	close(f.done)
	return f
}
