//go:build !linux

package futex

import "sync/atomic"

// Watch is for systems that can wait for many words at once.
type Watch struct{ C chan struct{} }

// NewWatch is nil here.
func NewWatch(*atomic.Uint32) *Watch { return nil }

// Notify is never called.
func (x *Watch) Notify() {}

// Close is never called.
func (x *Watch) Close() {}
