package mq

import (
	"fmt"

	"github.com/godsm/godsm/internal/errkind"
)

// errCorruptQueue returns an error that matches ErrCorrupt, with the text that it is given.
func errCorruptQueue(format string, args ...any) error {
	return errkind.As(ErrCorrupt, fmt.Errorf("message queue: "+format, args...))
}
