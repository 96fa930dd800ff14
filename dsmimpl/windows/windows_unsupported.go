//go:build !windows

// Package windows has no file mappings to offer on this system.
package windows

import (
	"github.com/godsm/godsm/dsmimpl"
	"github.com/godsm/godsm/dsmimpl/internal/refusal"
)

// New returns a backend whose every operation is ErrUnsupported.
func New() dsmimpl.Backend { return refusal.Unsupported("windows") }
