package roster

import (
	"fmt"

	"github.com/godsm/godsm/internal/errkind"
)

func errCorruptRoster(format string, args ...any) error {
	return errkind.As(ErrCorrupt, fmt.Errorf("roster: "+format, args...))
}
