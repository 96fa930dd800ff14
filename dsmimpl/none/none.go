// Package none is the backend none: shared memory is switched off, and every operation is ErrDisabled. (PostgreSQL
// had it from 9.4 to 11.)
package none

import (
	"github.com/godsm/godsm/dsmimpl"
	"github.com/godsm/godsm/dsmimpl/internal/refusal"
)

// New returns the backend.
func New() dsmimpl.Backend { return refusal.Backend("none", dsmimpl.ErrDisabled) }
