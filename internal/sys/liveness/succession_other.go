//go:build !linux

package liveness

import "github.com/godsm/godsm/internal/errkind"

// On this system a members file that has been removed has no successor: what stands on it ends.

func (r *Roll) Heed(func() (uint64, bool))       {}
func (r *Roll) InForce() bool                    { return true }
func (r *Roll) Renew() error                     { return errkind.Unsupported }
func (r *Roll) Follow() error                    { return nil }
func (r *Roll) Successor() (ino uint64, ok bool) { return 0, false }
func (r *Roll) Succeeded(int) bool               { return false }
