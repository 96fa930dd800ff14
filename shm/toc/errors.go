package toc

import (
	"fmt"

	"github.com/godsm/godsm/internal/errkind"
)

func corrupt(format string, args ...any) error {
	return errkind.As(ErrCorrupt, fmt.Errorf("table of contents: "+format, args...))
}

func full(format string, args ...any) error {
	return errkind.As(ErrFull, fmt.Errorf("table of contents: "+format+"; make the region larger", args...))
}
