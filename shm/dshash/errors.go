package dshash

import (
	"errors"
	"fmt"

	"github.com/godsm/godsm/internal/errkind"
)

// corrupt returns an error that matches ErrCorrupt, with the text that it is given.
func corrupt(format string, args ...any) error {
	return errkind.As(ErrCorrupt, fmt.Errorf("dshash: "+format, args...))
}

// isShortage reports whether an error means that memory could not be allocated: there is none, or a lock of the area was
// not free in time. Such an update can go on in place.
func isShortage(err error) bool {
	return err != nil && !errors.Is(err, ErrClosed) && !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrSize)
}
