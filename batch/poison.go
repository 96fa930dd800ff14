package batch

import (
	"context"
	"fmt"
	"time"
)

// A command that ends its connection twice, whenever it is executed alone, is poison: it fails, so that it does not hold up the
// others for ever. But connections are also ended from outside, by operators, by restarts, and on a busy machine that may meet an
// innocent command several times in a row. So a loss counts against a command only if a connection lives without it for many times
// as long as the lost one has lived.
//
// If a connection is ended from outside with probability p in the time that a transaction takes, the first loss of an innocent
// command counts with p(1-p)^16, at most 0.022, and the second with p(1-p)^64, at most 0.006: that both do is less likely than one
// in ten thousand, whatever p is. A guilty one's losses count both. On a machine so busy, or with transactions so short, that
// there are no more looks than firstLooks and secondLooks, it is one in a thousand at worst, where p is a thirteenth.
const (
	mostAlone   = 2  // losses that count
	firstTrial  = 16 // how many times as long as the lost connection another one is watched
	secondTrial = 64
	firstLooks  = 8 // how many transactions it has to live through in that time, at least
	secondLooks = 16
)

// mostTransient is how many looks at a connection may meet a transient error, for each that has to meet none.
const mostTransient = 4

// bounds of how long a connection is watched.
const (
	leastTrial = 4 * time.Millisecond
	mostTrial  = 2 * time.Second
)

// suspicion is what is held against a command.
type suspicion struct {
	alone int  // losses that count, each of a transaction with the command alone
	on    bool // the last loss is still to be tried
}

// suspect notes that the connection was lost while nothing but the next entry had been executed in its transaction.
func (f *flush[Cmd, Res]) suspect() {
	lived, times := time.Since(f.begun), firstTrial
	f.looks = firstLooks
	for c := f.entries[f.from].first; c != nil; c = c.next {
		if c.suspicion.on = true; c.suspicion.alone > 0 {
			times, f.looks = secondTrial, secondLooks
		}
	}
	f.trial = min(max(time.Duration(times)*lived, leastTrial), mostTrial)
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
	lived := f.connectionLives(f.trial, f.looks)
	f.trial = 0
	f.each(func(c *call[Cmd, Res]) {
		if s := &c.suspicion; s.on {
			s.on = false
			if lived {
				s.alone++
			}
		}
	})
	for f.from < len(f.entries) {
		if f.entries[f.from].first.suspicion.alone < mostAlone {
			return
		}
		f.fail(f.from+1, &Error{Class: Lost, Err: fmt.Errorf("%w: %w", ErrPoison, f.cause)})
		f.search.noteFound()
	}
}

// connectionLives reports whether a connection lives for d. It looks at it about 4*looks times, and at least looks times, however
// seldom this goroutine runs on a busy machine: each look is a transaction that the connection has to live through.
func (f *flush[Cmd, Res]) connectionLives(d time.Duration, looks int) bool {
	pause := time.NewTicker(max(d/time.Duration(4*looks), leastTrial/8))
	defer pause.Stop()
	for n, transient, end := 0, 0, time.Now().Add(d); n < looks || time.Now().Before(end); {
		select {
		case <-pause.C:
		case <-f.e.ctx.Done():
			return false
		}
		switch err := f.nothing(); {
		case err == nil:
			n++
		case f.e.driver.Class(err) != Transient || transient > mostTransient*looks:
			return false
		default: // says nothing about the connection
			transient++
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
