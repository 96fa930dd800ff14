//go:build linux

package compat

import (
	"context"
	"fmt"
	"sync/atomic"
)

// Whole is the whole store, exclusively.
type Whole struct {
	s    *Store
	over atomic.Bool
}

// Whole locks the whole store: no older program, and no one with a lock of any table, is in until Unlock. It waits until all
// locks of this process are given back, so an owner that holds one gets ErrSelf. While it waits, owners that hold nothing
// wait for it, in other processes for a second at a time.
func (s *Store) Whole(ctx context.Context) (*Whole, error) {
	if s.closed.Load() {
		return nil, fmt.Errorf("compat: %s: %w", s.f.path, ErrClosed)
	}
	if o := s.owner(ctx); o != nil && o.holds.Load() > 0 {
		return nil, fmt.Errorf("compat: lock %s: %w", s.f.path, ErrSelf)
	}
	if err := s.f.enterWhole(ctx); err != nil {
		return nil, err
	}
	return &Whole{s: s}, nil
}

// Changed says that the store has changed: LastWrite is another one from then on.
func (w *Whole) Changed() error {
	if w.over.Load() {
		return ErrNotHeld
	}
	return w.s.f.recordWrite()
}

// Unlock gives the store back. A second call is ErrNotHeld.
func (w *Whole) Unlock() error {
	if w.over.Swap(true) {
		return ErrNotHeld
	}
	w.s.f.leaveWhole()
	return nil
}
