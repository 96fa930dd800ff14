//go:build linux

package compat

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/godsm/godsm/locktable"
	"golang.org/x/sys/unix"
)

// Options are this process's, of a store. Zeros mean the defaults.
type Options struct {
	// Refuse makes a lock ErrOtherTable while another table guards the store. By default the process then holds the whole
	// store for each of its locks.
	Refuse bool
	// Alone makes the process hold the whole store for each of its locks in any case.
	Alone bool
}

// Store is a table that guards the parts of a store, and the lock file of the whole. Its methods are safe for concurrent use.
type Store struct {
	t      *locktable.Table
	f      *file
	id     uint64
	o      Options
	closed atomic.Bool
}

// Open finds the lock file of a store, which it makes if it is missing, and lets the table guard what is in the store. A
// process has one table for a lock file at a time. The table is the caller's, which closes it after the Store.
func Open(ctx context.Context, t *locktable.Table, path string, o Options) (*Store, error) {
	h, err := t.Lock(ctx, locktable.IntentShared, "compat")
	if err != nil {
		return nil, err
	}
	token, err := h.Token()
	if e := h.Unlock(); err == nil {
		err = e
	}
	if err != nil {
		return nil, err
	}
	f, err := open(path)
	if err != nil {
		return nil, err
	}
	if err := f.join(token.Table); err != nil {
		return nil, err
	}
	return &Store{t: t, f: f, id: token.Table, o: o}, nil
}

// Close ends the use of the store. Locks that are held stay, and the lock file with them, until they are unlocked. Closing
// twice is harmless.
func (s *Store) Close() {
	if !s.closed.Swap(true) {
		s.f.part()
	}
}

// Owner is a locktable.Owner, and how much of a store it holds.
type Owner struct {
	*locktable.Owner
	holds atomic.Int64
}

type ownerKey struct{ *Store }

// As is Table.As: a context with an owner, which says what it does.
func (s *Store) As(ctx context.Context, note string) (context.Context, *Owner) {
	ctx, inner := s.t.As(ctx, note)
	o := &Owner{Owner: inner}
	return context.WithValue(ctx, ownerKey{s}, o), o
}

func (s *Store) owner(ctx context.Context) *Owner {
	o, _ := ctx.Value(ownerKey{s}).(*Owner)
	return o
}

// Hold is the right to unlock, once.
type Hold struct {
	locktable.Hold
	use *use
}

// Holds are the locks of a LockMany.
type Holds struct {
	locktable.Holds
	use *use
}

// use is what locks have of the lock file.
type use struct {
	s     *Store
	owner *Owner
	once  sync.Once
}

func (u *use) end() {
	u.once.Do(func() {
		if u.owner != nil {
			u.owner.holds.Add(-1)
		}
		u.s.f.leave()
	})
}

// enter locks the lock file for a lock of the table.
func (s *Store) enter(ctx context.Context) (*use, error) {
	if s.closed.Load() {
		return nil, fmt.Errorf("compat: %s: %w", s.f.path, ErrClosed)
	}
	o := s.owner(ctx)
	if err := s.f.enter(ctx, s.id, s.o, o != nil && o.holds.Load() > 0); err != nil {
		return nil, err
	}
	if o != nil {
		o.holds.Add(1)
	}
	return &use{s: s, owner: o}, nil
}

// Lock is Table.Lock, with the lock file held. An error that ends the wait is a *WaitError of this package, if older programs
// or another table were in the way, or else one of locktable.
func (s *Store) Lock(ctx context.Context, m locktable.Mode, path ...string) (Hold, error) {
	return s.hold(ctx, func() (locktable.Hold, error) { return s.t.Lock(ctx, m, path...) })
}

// TryLock is Lock for one that does not wait: for the lock file it waits for a few milliseconds at most.
func (s *Store) TryLock(ctx context.Context, m locktable.Mode, path ...string) (Hold, error) {
	short, cancel := context.WithTimeoutCause(ctx, 2*firstNap, locktable.ErrHeld)
	defer cancel()
	return s.hold(short, func() (locktable.Hold, error) { return s.t.TryLock(ctx, m, path...) })
}

func (s *Store) hold(ctx context.Context, lock func() (locktable.Hold, error)) (Hold, error) {
	u, err := s.enter(ctx)
	if err != nil {
		return Hold{}, err
	}
	h, err := lock()
	if err != nil {
		u.end()
		return Hold{}, err
	}
	return Hold{h, u}, nil
}

// LockMany is Table.LockMany, with the lock file held.
func (s *Store) LockMany(ctx context.Context, wants ...locktable.Want) (Holds, error) {
	u, err := s.enter(ctx)
	if err != nil {
		return Holds{}, err
	}
	hs, err := s.t.LockMany(ctx, wants...)
	if err != nil {
		u.end()
		return Holds{}, err
	}
	return Holds{hs, u}, nil
}

// Unlock gives the lock back.
func (h Hold) Unlock() error {
	if h.use == nil {
		return ErrNotHeld
	}
	defer h.use.end() // after the table's: also if that has ended, when others may not come in before
	return h.Hold.Unlock()
}

// Unlock gives all back, and returns the first error.
func (h Holds) Unlock() error {
	if h.use == nil {
		return ErrNotHeld
	}
	defer h.use.end()
	return h.Holds.Unlock()
}

// Changed is that of the table's Hold, and tells older programs to read the store again.
func (h Hold) Changed() (locktable.Token, error) {
	if h.use == nil {
		return locktable.Token{}, ErrNotHeld
	}
	token, err := h.Hold.Changed()
	if err == nil {
		err = h.use.s.f.recordWrite()
	}
	return token, err
}

// Changed is that of the i-th lock's Hold, and tells older programs to read the store again.
func (h Holds) Changed(i int) (locktable.Token, error) {
	if h.use == nil || i < 0 || i >= len(h.Holds) {
		return locktable.Token{}, ErrNotHeld
	}
	return Hold{h.Holds[i], h.use}.Changed()
}

// LastWrite is who wrote last: another value after each Changed, and after each RecordWrite of an older program. What was
// read of the store is still right if the value is the same under a lock.
type LastWrite [64]byte

// LastWrite returns it.
func (s *Store) LastWrite() (w LastWrite, err error) {
	_, err = unix.Pread(s.f.big, w[:], 0)
	return w, err
}

var writes atomic.Uint64

// recordWrite writes a last-writer token in the form of the older library: time, counter, pid, random bytes.
func (f *file) recordWrite() error {
	var w LastWrite
	binary.LittleEndian.PutUint64(w[0:], uint64(time.Now().UnixNano()))
	binary.LittleEndian.PutUint64(w[8:], writes.Add(1))
	binary.LittleEndian.PutUint32(w[16:], uint32(os.Getpid()))
	_, _ = rand.Read(w[20:])
	if _, err := unix.Pwrite(f.big, w[:], 0); err != nil {
		return fmt.Errorf("compat: %s: %w", f.path, err)
	}
	return nil
}
