//go:build linux || darwin || freebsd

// Package posix is the backend posix: named objects as shm_open makes them, in one flat namespace for the whole system.
//
// Traps of the primitive. The space is often small: containers get a mount of 64 MB, so memory is
// reserved when an object is made and a full mount is ErrNoSpace with the cure in its text.
// systemd-logind removes a user's objects when the user's last login session ends (RemoveIPC), which
// shows as ErrNotFound at the next attach. Names outlive their processes and do not tell which
// processes use them: hence package control.
package posix

import (
	"context"

	"github.com/godsm/godsm/dsmimpl"
	"github.com/godsm/godsm/internal/sys/filemap"
)

// New returns the backend.
func New() dsmimpl.Backend { return backend{} }

type backend struct{}

func (backend) Name() string { return "posix" }

func (backend) Create(ctx context.Context, o dsmimpl.Object) (dsmimpl.Mapping, uint64, error) {
	if err := dsmimpl.CheckSize(o.Size); err != nil {
		return dsmimpl.Mapping{}, 0, err
	}
	b, err := create(ctx, o)
	return dsmimpl.Mapping{Bytes: b}, 0, explain(err)
}

func (backend) Attach(_ context.Context, o dsmimpl.Object, a dsmimpl.Access) (dsmimpl.Mapping, error) {
	b, err := attach(o, a == dsmimpl.ReadWrite)
	return dsmimpl.Mapping{Bytes: b}, err
}

func (backend) Detach(m dsmimpl.Mapping) error { return filemap.Unmap(m.Bytes) }

func (backend) Destroy(_ context.Context, o dsmimpl.Object) error { return unlink(o) }

func (backend) DetachGuarded(m dsmimpl.Mapping) error { return filemap.Guard(m.Bytes) }

func (backend) Unguard(m dsmimpl.Mapping) error { return filemap.Unmap(m.Bytes) }

func (backend) Swap(m dsmimpl.Mapping, from, to int) error { return filemap.Swap(m.Bytes[from:to]) }

func (backend) Unswap(m dsmimpl.Mapping) error { return filemap.Unmap(m.Bytes) }

func (backend) AttachPart(_ context.Context, o dsmimpl.Object, at, size int) (dsmimpl.Mapping, []byte, error) {
	all, part, err := attachPart(o, at, size)
	return dsmimpl.Mapping{Bytes: all}, part, err
}

func (backend) Locate(o dsmimpl.Object) string { return path(o) }
