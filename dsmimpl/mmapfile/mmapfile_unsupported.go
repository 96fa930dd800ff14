//go:build !(linux || darwin || freebsd)

// Package mmapfile is not built for this system (PostgreSQL's mmap is not for Windows either).
package mmapfile

import (
	"github.com/godsm/godsm/dsmimpl"
	"github.com/godsm/godsm/dsmimpl/internal/refusal"
)

// New returns a backend whose every operation is ErrUnsupported.
func New(string) dsmimpl.Backend { return refusal.Unsupported("mmap") }
