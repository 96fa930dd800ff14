package shmsync

import (
	"context"
	"errors"
	"io/fs"

	"github.com/godsm/godsm/internal/errkind"
)

var (
	errNoFunction = errkind.As(fs.ErrInvalid, errors.New("shmsync: Do was given no function"))
	errHalfDone   = errkind.As(ErrNotRecoverable, errors.New("shmsync: the last holder of the lock died with it, or met a fault: "+
		"what the lock guards may be half-written; take the lock by Recover, repair that, and call MarkConsistent"))
)

// Do calls f with the lock held exclusively, and returns f's error. It waits for the lock as Lock does. The lock is
// given back when f returns, and also if f panics or ends its goroutine (runtime.Goexit).
//
// If a holder died with the lock, Do is ErrNotRecoverable without a call of f, and the lock stays as it is: f can't know
// that what the lock guards may be half-written. The caller takes the lock by Recover then, repairs, and calls
// MarkConsistent. Do leaves the lock to others in that state if f meets a fault inside Session.Contain.
//
// If the session ends while f runs, f goes on, as a function of Segment.With does; the lock is then that of a holder
// that died, and Do returns ErrClosed unless f returns an error.
func (l *LWLock) Do(ctx context.Context, f func() error) error {
	if f == nil {
		return errNoFunction
	}
	g, err := l.Lock(ctx)
	if err != nil {
		return err
	}
	// An Unlock would poison the lock, so it is given back as it was found.
	if g.Abandoned() {
		l.poisonHold(g)
		return errHalfDone
	}
	returned := false
	defer func() {
		if returned {
			g.Unlock()
			return
		}
		g.releaseOnPanic(recover())
	}()
	err = f()
	returned = true
	if err == nil && l.view.Ended() {
		err = l.view.Err()
	}
	return err
}
