package cli

import (
	"fmt"

	"github.com/godsm/godsm/dsm"
)

// ParseHandle returns the handle that an argument is; the error is of wrong usage.
func ParseHandle(s string) (dsm.Handle, error) {
	h, err := dsm.ParseHandle(s)
	if err != nil {
		err = fmt.Errorf("%w: %w", ErrUsage, err)
	}
	return h, err
}
