package batch

import (
	"cmp"
	"errors"
	"time"
)

// mode is how a flush is executed. A flush begins whole, and moves on when that has failed.
type mode int

const (
	whole   mode = iota // in one transaction without savepoints
	guarded             // in runs under savepoints of one transaction
	apart               // in runs that are transactions of their own
)

// mostGuards is how many savepoints a transaction has: PostgreSQL slows down beyond 64.
const mostGuards = 50

// A flush executes calls and answers them. The worker has one and uses it again and again.
//
// Its entries are in three parts: those before from have been answered; those from there up to pos have been executed
// in the transaction under way; the rest are still to be executed. A rollback sets pos back to from.
type flush[Cmd, Res any] struct {
	e *Engine[Cmd, Res]
	plan[Cmd, Res]
	calls  []*call[Cmd, Res]
	fences []*call[Cmd, Res]

	number   uint64 // of the last transaction that stored one
	tx       Tx[Cmd, Res]
	begun    time.Time // the transaction
	from     int
	pos      int
	broken   bool // a panic has left it half done
	guards   int  // savepoints that the transaction has had
	executed int  // statements that it has had

	mode     mode
	unmerged bool
	search   search
	lost     int           // connections, while the flush was under way
	cause    error         // of the last loss
	trial    time.Duration // how long a connection must live for the last loss to count; 0: it was tried, or does not count
	looks    int           // how often that connection is looked at, at least
	tries    int           // in a row that have failed
	took     time.Duration // by the last commit
	most     int           // entries in a transaction: fewer where transient errors don't cease
}

// run executes f.calls until each of them has been answered.
func (f *flush[Cmd, Res]) run() {
	f.mode, f.unmerged, f.lost, f.tries, f.most, f.trial = whole, false, 0, 0, len(f.calls), 0
	f.fences = f.fences[:0]
	for _, c := range f.calls {
		if c.fence {
			f.fences = append(f.fences, c)
		}
	}
	f.make()
	for f.pos < len(f.entries) || f.tx != nil {
		switch {
		case f.e.ctx.Err() != nil:
			f.rollback(ErrClosed)
			f.fail(len(f.entries), &Error{Err: ErrClosed})
		case f.tx == nil && f.trial > 0:
			f.try()
		case f.tx == nil:
			f.begin()
		case f.pos < len(f.entries):
			f.execute()
		default:
			f.commit()
		}
	}
	for _, c := range f.fences {
		f.e.answer(c, c.res, nil)
	}
}

// make plans f.calls.
func (f *flush[Cmd, Res]) make() {
	f.from, f.pos, f.search = 0, 0, search{}
	f.e.plans.plan(&f.plan, f.calls, !f.unmerged, f.e)
}

// replan plans anew what has not been answered.
func (f *flush[Cmd, Res]) replan() {
	f.calls = f.calls[:0]
	for x := f.from; x < len(f.entries); x++ {
		for c := f.entries[x].first; c != nil; c = c.next {
			f.calls = append(f.calls, c)
		}
	}
	f.make()
}

// begin begins a transaction.
func (f *flush[Cmd, Res]) begin() {
	var number uint64
	if f.writes > 0 {
		f.number++
		number = f.number
	}
	f.begun, f.guards, f.executed = time.Now(), 0, 0
	tx, err := f.e.driver.Begin(f.e.ctx, number)
	if err == nil {
		f.tx = tx
		return
	}
	switch class := f.e.driver.Class(err); class {
	case Transient, Lost:
		f.retry(err)
	default:
		f.fail(len(f.entries), &Error{Class: class, Err: err})
	}
}

// execute executes the next entries.
func (f *flush[Cmd, Res]) execute() {
	if f.guards >= mostGuards || f.pos-f.from >= f.most {
		f.commit()
		return
	}
	i := f.entries[f.pos].first.interact
	if i != nil && i.alone && f.pos > f.from {
		f.commit()
		return
	}
	hi := f.nextRunEnd()
	lo, up, err := f.pos, hi, error(nil)
	if f.finishes(hi) {
		f.finish()
		return
	}
	if i != nil {
		f.guards++
		err = f.interact(i)
	} else {
		lo, up, err = f.runDriver(hi)
	}
	if err != nil {
		f.handleError(lo, up, hi, err)
		return
	}
	f.pos = hi
	if f.mode == apart || i != nil && i.alone {
		f.commit()
	}
}

// nextRunEnd returns the end of the next run.
func (f *flush[Cmd, Res]) nextRunEnd() int {
	hi := len(f.entries)
	if f.mode != whole {
		hi = f.search.nextRunEnd(f.pos, hi)
	}
	hi = min(hi, f.from+f.most)
	if f.interactions > 0 { // an interaction is a run of its own
		for x := f.pos; x < hi; x++ {
			if f.entries[x].first.interact != nil {
				return max(x, f.pos+1)
			}
		}
	}
	return hi
}

// runDriver lets the driver execute entries up to hi. If there is an error, it returns the entries of the statement that
// failed.
func (f *flush[Cmd, Res]) runDriver(hi int) (lo, up int, err error) {
	defer func() {
		if v := recover(); v != nil {
			lo, up, err = f.pos, hi, panicked("the driver", v)
			f.broken = true
		}
	}()
	steps := f.statements(hi)
	if len(steps) == 0 {
		return 0, 0, nil
	}
	if f.mode == guarded {
		f.guards++
	}
	if f.mode != whole {
		f.e.count(func(s *Stats) { s.Bisected++ })
	}
	a, b, err := f.tx.Run(f.e.ctx, steps, f.mode == guarded)
	if err != nil {
		lo, up = f.blamedEntries(a, b, hi)
		return lo, up, err
	}
	return f.handleCommandErrors(hi)
}

// statements returns the steps of the run up to hi.
func (f *flush[Cmd, Res]) statements(hi int) []Step[Cmd, Res] {
	steps := f.between(f.pos, hi)
	clear(f.res[f.pos:hi])
	f.executed += len(steps)
	return steps
}

// blamedEntries returns the entries of the statement of commands a up to b of the run up to hi.
func (f *flush[Cmd, Res]) blamedEntries(a, b, hi int) (lo, up int) {
	lo, up = f.entry(a), f.entry(max(a, b-1))+1
	return max(lo, f.pos), min(up, hi)
}

// handleCommandErrors sees to the errors of single commands of the run up to hi.
func (f *flush[Cmd, Res]) handleCommandErrors(hi int) (lo, up int, err error) {
	for x := f.pos; x < hi; x++ {
		if f.errs[x] == nil {
			continue
		}
		if f.entries[x].n > 1 && !f.entries[x].read {
			return x, x + 1, f.errs[x] // its commands are executed one by one
		}
		f.entries[x].err, f.errs[x] = f.errs[x], nil
	}
	return 0, 0, nil
}

// rollback ends the transaction under way; what it has executed is to be executed again.
func (f *flush[Cmd, Res]) rollback(cause error) {
	if f.tx != nil {
		f.tx.Rollback(f.e.ctx)
		f.tx = nil
	}
	for x := f.from; x < len(f.entries); x++ {
		f.entries[x].err = nil
		if i := f.entries[x].first.interact; i != nil {
			f.undo(i, cause)
		}
	}
	clear(f.errs)
	f.pos, f.broken = f.from, false
}

// commit commits what has been executed, and answers it.
func (f *flush[Cmd, Res]) commit() {
	if !f.storeSharedResults() {
		return
	}
	err := f.tx.Commit(f.e.ctx)
	if err == nil {
		f.committed()
		return
	}
	f.uncommitted(err, true)
}

// uncommitted sees to an error of COMMIT. ran reports whether the results of what the transaction has executed are there.
func (f *flush[Cmd, Res]) uncommitted(err error, ran bool) {
	class := f.e.driver.Class(err)
	if f.writes == 0 || class != Lost && f.e.ctx.Err() == nil {
		f.handleError(f.from, f.pos, f.pos, err)
		return
	}
	f.tellWritten(f.pos, false)
	switch ok, known := f.settle(err); {
	case !known:
		f.tx.Rollback(f.e.ctx)
		f.tx = nil
		f.fail(f.pos, &Error{Executed: Maybe, Class: class, Err: err})
	case ok && !ran:
		f.tx.Rollback(f.e.ctx)
		f.tx = nil
		f.fail(f.pos, &Error{Executed: Yes, Class: class, Err: errors.Join(ErrNoResult, err)})
	case ok:
		f.tx.Rollback(f.e.ctx)
		f.committed()
	default:
		f.handleError(f.from, f.pos, f.pos, err)
	}
}

// errUnsure is why a transaction is rolled back that has merged what it should not have.
var errUnsure = errors.New("the answer to a merged command is not one that Rules.Split can divide")

// storeSharedResults gives the calls that share an entry their results, before these are committed. It reports whether all are sure;
// if not, the transaction was rolled back and will be executed without merging.
func (f *flush[Cmd, Res]) storeSharedResults() bool {
	if f.shared == 0 {
		return true
	}
	for x := f.from; x < f.pos; x++ {
		if f.entries[x].n == 1 || f.entries[x].err != nil {
			continue
		}
		if sure, err := f.e.plans.storeShared(&f.plan, x); !sure {
			f.rollback(cmp.Or(err, errUnsure))
			f.unmerged = true
			f.replan()
			return false
		}
	}
	return true
}

// tellWritten lets those who keep what the database says follow entries up to hi, which have been committed or, if that is not
// known, may have been.
func (f *flush[Cmd, Res]) tellWritten(hi int, known bool) {
	if err := f.e.plans.committed(&f.plan, f.from, hi, known); err != nil {
		f.e.options.Logger.Error("batch: what was committed could not be told", "error", err)
	}
}

// committed answers what the transaction has executed.
func (f *flush[Cmd, Res]) committed() {
	f.tx = nil
	f.tellWritten(f.pos, true)
	calls, failed, merged := 0, 0, 0
	for x := f.from; x < f.pos; x++ {
		e := &f.entries[x]
		calls += e.n
		if e.n > 1 {
			merged += e.n
		}
		if e.err != nil {
			failed += e.n
		}
	}
	f.took = time.Since(f.begun)
	f.e.queue.expect(calls)
	f.e.finished(calls, failed, merged, f.executed, f.took)
	for x := f.from; x < f.pos; x++ {
		e := &f.entries[x]
		if e.err != nil {
			f.answer(e, &Error{Class: f.e.driver.Class(e.err), Err: e.err})
			continue
		}
		for c := e.first; c != nil; {
			next, res := c.next, c.res
			if e.n == 1 {
				res = f.res[x]
			}
			if c.interact != nil {
				c.interact.ran = false // for good
			}
			f.e.answer(c, res, nil)
			c = next
		}
	}
	f.from, f.tries, f.most = f.pos, 0, min(2*f.most, len(f.entries)+1)
}

// answer tells all calls of an entry that it has failed.
func (f *flush[Cmd, Res]) answer(e *entry[Cmd, Res], err error) {
	for c := e.first; c != nil; {
		next := c.next
		var none Res
		f.e.answer(c, none, err)
		c = next
	}
}

// fail ends entries from f.from up to hi with an error; none of them is in a transaction.
func (f *flush[Cmd, Res]) fail(hi int, err *Error) {
	n := 0
	for x := f.from; x < hi; x++ {
		n += f.entries[x].n
	}
	f.e.count(func(s *Stats) { s.Commands += uint64(n); s.Failed += uint64(n) })
	for x := f.from; x < hi; x++ {
		f.answer(&f.entries[x], err)
	}
	f.from, f.pos = hi, hi
}

// alive reports whether the transaction can go on.
func (f *flush[Cmd, Res]) alive() bool { return !f.broken && f.tx.Alive() }

// each calls do for all calls that have not been answered.
func (f *flush[Cmd, Res]) each(do func(*call[Cmd, Res])) {
	for x := f.from; x < len(f.entries); x++ {
		for c := f.entries[x].first; c != nil; {
			next := c.next
			do(c)
			c = next
		}
	}
}
