//go:build linux || darwin || freebsd

// Package mmapfile is the backend mmap: plain files, reserved and zero, in a directory of the operator's choice: a RAM
// disk, one per NUMA node, one under a quota, or simply where ordinary tools can look inside.
//
// Traps of the primitive. On a disk the system writes dirty pages back in the background, so it is the slowest
// backend; the files survive a reboot with whatever order of writes the disk saw, so a start never trusts
// them; whoever can write the directory can truncate a file under its users.
package mmapfile

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/godsm/godsm/dsmimpl"
	"github.com/godsm/godsm/internal/bytesize"
	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/filemap"
	"github.com/google/uuid"
)

// New returns the backend for files in dir, which is made (with mode 0700) by the first Create if it is missing.
func New(dir string) dsmimpl.Backend { return backend{dir} }

type backend struct{ dir string }

func (backend) Name() string { return "mmap" }

func (b backend) path(o dsmimpl.Object) string { return o.Path(b.dir) }

func (b backend) Create(ctx context.Context, o dsmimpl.Object) (dsmimpl.Mapping, uint64, error) {
	if err := dsmimpl.CheckSize(o.Size); err != nil {
		return dsmimpl.Mapping{}, 0, err
	}
	bytes, err := filemap.Create(ctx, b.path(o), o.Size)
	if errors.Is(err, errkind.NotFound) {
		if err = os.MkdirAll(b.dir, 0o700); err == nil {
			failpoint.Hit("mmapfile/create/directory")
			bytes, err = filemap.Create(ctx, b.path(o), o.Size)
		}
	}
	if filemap.Full(err) {
		size, free := filemap.Usage(b.dir)
		err = fmt.Errorf("%w; the file system of %s holds %s, of which %s are free: make room, or set "+
			"mmap_directory to a larger one", err, b.dir, bytesize.Format(size), bytesize.Format(free))
	}
	return dsmimpl.Mapping{Bytes: bytes}, 0, err
}

func (b backend) Attach(_ context.Context, o dsmimpl.Object, a dsmimpl.Access) (dsmimpl.Mapping, error) {
	bytes, err := filemap.Open(b.path(o), o.Size, a == dsmimpl.ReadWrite)
	return dsmimpl.Mapping{Bytes: bytes}, err
}

func (backend) Detach(m dsmimpl.Mapping) error { return filemap.Unmap(m.Bytes) }

func (b backend) Destroy(_ context.Context, o dsmimpl.Object) error { return filemap.Remove(b.path(o)) }

func (backend) DetachGuarded(m dsmimpl.Mapping) error { return filemap.Guard(m.Bytes) }

func (backend) Unguard(m dsmimpl.Mapping) error { return filemap.Unmap(m.Bytes) }

func (backend) Swap(m dsmimpl.Mapping, from, to int) error { return filemap.Swap(m.Bytes[from:to]) }

func (backend) Unswap(m dsmimpl.Mapping) error { return filemap.Unmap(m.Bytes) }

func (b backend) AttachPart(_ context.Context, o dsmimpl.Object, at, size int) (dsmimpl.Mapping, []byte, error) {
	all, part, err := filemap.OpenPart(b.path(o), at, size)
	return dsmimpl.Mapping{Bytes: all}, part, err
}

func (b backend) Locate(o dsmimpl.Object) string { return b.path(o) }

// List finds this instance's files by their names; other files in the directory are nobody's business.
func (b backend) List(_ context.Context, instance uuid.UUID, _ uint64) ([]dsmimpl.Object, error) {
	return dsmimpl.ListDir(b.dir, instance)
}
