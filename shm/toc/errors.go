package toc

import (
	"fmt"

	"github.com/godsm/godsm/internal/errkind"
)

func errCorruptToc(format string, args ...any) error {
	return errkind.As(ErrCorrupt, fmt.Errorf("table of contents: "+format, args...))
}

func errFullToc(format string, args ...any) error {
	return errkind.As(ErrFull, fmt.Errorf("table of contents: "+format+"; make the region larger", args...))
}
