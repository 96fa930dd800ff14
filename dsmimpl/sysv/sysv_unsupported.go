//go:build !(linux || darwin || freebsd)

// Package sysv has no System V shared memory on this system.
package sysv

import (
	"github.com/godsm/godsm/dsmimpl"
	"github.com/godsm/godsm/dsmimpl/internal/refusal"
)

// New returns a backend whose every operation is ErrUnsupported.
func New() dsmimpl.Backend { return refusal.Unsupported("sysv") }
