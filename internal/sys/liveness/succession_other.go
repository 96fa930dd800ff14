//go:build !linux

package liveness

import "github.com/godsm/godsm/internal/errkind"

// On this system a members file that has been removed has no successor: what stands on it ends.

// Heed does nothing: the file that was opened stays in force.
func (r *Roll) Heed(func() (uint64, bool)) {}

// InForce reports true, for that reason.
func (r *Roll) InForce() bool { return true }

// Renew fails with ErrUnsupported.
func (r *Roll) Renew() error { return errkind.Unsupported }

// Follow does nothing: there is no successor to follow.
func (r *Roll) Follow() error { return nil }

// Successor returns none.
func (r *Roll) Successor() (ino uint64, ok bool) { return 0, false }

// Succeeded reports false for each row: there is no successor that could have its witness.
func (r *Roll) Succeeded(int) bool { return false }
