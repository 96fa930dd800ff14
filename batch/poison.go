package batch

import (
	"context"
	"fmt"
	"time"
)

// A command that ends its connection whenever it is executed is poison: after some losses it fails, so that it does not hold up
// the others for ever. But connections are also ended from outside, by operators, by restarts, and on a busy machine that may meet
// an innocent command many times in a row. So a loss counts against the commands of its transaction only if a connection lives
// without them for twice as long as the lost one has lived.
//
// If a connection is ended from outside with probability p while a transaction is under way, an innocent command's try
// counts with p(1-p)², at most 0.15, and succeeds with 1-p: that six tries count before one succeeds is less likely than one in
// ten thousand, whatever p is. A guilty one's tries all count.
const (
	mostLosses = 6 // losses that count, of transactions with the command
	leastAlone = 2 // of these, losses of transactions with that command alone
)

// bounds of how long a connection is watched.
const (
	leastTrial = 2 * time.Millisecond
	mostTrial  = time.Second
)

// suspicion is what is held against a command.
type suspicion struct {
	losses, alone int
	on            bool // the last loss is still to be tried
}

// suspect notes that the connection was lost while entries up to hi were executed in a transaction of their own.
func (f *flush[Cmd, Res]) suspect(hi int) {
	for x := f.from; x < hi; x++ {
		for c := f.entries[x].first; c != nil; c = c.next {
			c.suspicion.on = true
		}
	}
	f.trial = min(max(2*time.Since(f.begun), leastTrial), mostTrial)
	f.tried = hi - f.from
}

// try finds out whether the last loss counts, and fails a command that is poison. It takes no time of its own from a connection
// that can't be opened: the pauses between tries are those of retry.
func (f *flush[Cmd, Res]) try() {
	if err := f.nothing(); err != nil {
		if class := f.e.driver.Class(err); class == Transient || class == Lost {
			f.retry(err)
			return
		}
		f.trial = 0 // the next transaction will have that error
		return
	}
	lived := f.connectionLives(f.trial)
	f.trial = 0
	f.each(func(c *call[Cmd, Res]) {
		if s := &c.suspicion; s.on {
			s.on = false
			if lived {
				s.losses++
				if f.tried == 1 {
					s.alone++
				}
			}
		}
	})
	for f.from < len(f.entries) {
		if s := f.entries[f.from].first.suspicion; s.losses < mostLosses || s.alone < leastAlone {
			return
		}
		f.fail(f.from+1, &Error{Class: Lost, Err: fmt.Errorf("%w: %w", ErrPoison, f.cause)})
		f.search.noteFound()
	}
}

// connectionLives reports whether a connection lives for that long.
func (f *flush[Cmd, Res]) connectionLives(d time.Duration) bool {
	pause := time.NewTicker(max(d/8, leastTrial/4))
	defer pause.Stop()
	for end := time.Now().Add(d); time.Now().Before(end); {
		select {
		case <-pause.C:
		case <-f.e.ctx.Done():
			return false
		}
		if f.nothing() != nil {
			return false
		}
	}
	return true
}

// nothing executes nothing, in a transaction of its own.
func (f *flush[Cmd, Res]) nothing() error {
	tx, err := f.e.driver.Begin(f.e.ctx, 0)
	if err != nil {
		return err
	}
	if err = tx.Interact(f.e.ctx, func(context.Context, any) error { return nil }); err == nil {
		err = tx.Commit(f.e.ctx)
	}
	if err != nil {
		tx.Rollback(f.e.ctx)
	}
	return err
}
