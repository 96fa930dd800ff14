package registry

import (
	"errors"
	"fmt"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/shm"
)

// errCorruptNames makes an ErrCorrupt of a text that says what is invalid.
func errCorruptNames(format string, args ...any) error {
	return errkind.As(shm.ErrCorrupt, fmt.Errorf("registry: "+format, args...))
}

// errOfName returns err with the package, what was asked for and the name in front of it; nil stays nil.
func errOfName(what, name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("registry: %s %q: %w", what, name, err)
}

// ignoreErrKind returns err, but nil if it is of that kind.
func ignoreErrKind(err, kind error) error {
	if errors.Is(err, kind) {
		return nil
	}
	return err
}

// errIfOver returns why what create has made cannot be published: the session ended in the meantime, perhaps by create
// itself. Published, the name would stand for something that this call does not return.
func errIfOver(s *dsm.Session) error {
	if err := s.Err(); err != nil {
		return fmt.Errorf("the session was closed, or has ended, when init returned: %w", err)
	}
	return nil
}
