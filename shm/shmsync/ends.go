package shmsync

import (
	"errors"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/shm"
)

// ends is the view that a lock ends with. The zero ends, which is that of the zero value of a lock, has ended. So a program
// that uses a lock without its New function gets an error and no fault.
type ends struct{ v *shm.View }

var (
	// forever is the view of the locks that never end. It has no bytes, and nothing ends it.
	forever = shm.NewView(nil)
	// ended is a view that has ended.
	ended = func() *shm.View {
		v := shm.NewView(nil)
		v.End()
		return v
	}()
	errUnmade = errkind.As(ErrClosed, errors.New("shmsync: a zero value has no word in shared memory: make one with its New function"))
)

// endsWith returns the ends of a lock that ends with v, never if v is nil.
func endsWith(v *shm.View) ends {
	if v == nil {
		v = forever
	}
	return ends{v}
}

// Ended reports whether the view has ended. It is asked on the fast path of every lock: one load, if the view is no nil.
func (e ends) Ended() bool { return e.v == nil || e.v.Ended() }

// Err returns nil, or after the end an error that matches ErrClosed and says why it is one.
func (e ends) Err() error {
	if e.v == nil {
		return errUnmade
	}
	return e.v.Err()
}

// Answer returns err or, after the end, an error that matches ErrClosed: see shm.View.Answer.
func (e ends) Answer(err error) error {
	if e.v == nil {
		return errUnmade
	}
	return e.v.Answer(err)
}
