//go:build !(linux || darwin || freebsd)

// Package posix has no shm_open on this system that can be reached without cgo.
package posix

import (
	"github.com/godsm/godsm/dsmimpl"
	"github.com/godsm/godsm/dsmimpl/internal/refusal"
)

// New returns a backend whose every operation is ErrUnsupported.
func New() dsmimpl.Backend { return refusal.Unsupported("posix") }
