package shmsync

import (
	"errors"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/shm"
)

// ends is the view that a lock ends with. The zero ends, which is that of the zero value of a lock, has ended.
type ends struct{ v *shm.View }

var (
	forever   = shm.NewView(nil)
	errUnmade = errkind.As(ErrClosed, errors.New("shmsync: this is a zero value of no word: its New function makes one"))
)

// endsWith returns the ends of a lock that ends with v, never if v is nil.
func endsWith(v *shm.View) ends {
	if v == nil {
		v = forever
	}
	return ends{v}
}

func (e ends) Ended() bool { return e.v == nil || e.v.Ended() }

func (e ends) Err() error {
	if e.v == nil {
		return errUnmade
	}
	return e.v.Err()
}

func (e ends) Answer(err error) error {
	if e.v == nil {
		return errUnmade
	}
	return e.v.Answer(err)
}
