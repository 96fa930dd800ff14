//go:build linux || darwin || freebsd

// Package mmapfile is the backend mmap: plain files, reserved and zero, in a directory of the operator's choice: a RAM
// disk, one per NUMA node, one under a quota, or simply where ordinary tools can look inside.
//
// Traps of the primitive. On a disk the system writes dirty pages back in the background, so it is the slowest
// backend; the files survive a reboot with whatever order of writes the disk saw, so a start never trusts
// them; a process that can write the directory can truncate a file under its users.
package mmapfile

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/godsm/godsm/dsmimpl"
	"github.com/godsm/godsm/internal/bytesize"
	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/sys/filemap"
	"github.com/godsm/godsm/internal/sys/folder"
	"github.com/google/uuid"
)

// New returns a backend for files in dir, which is made (with mode 0700) by the first Create if it is missing.
func New(dir string) dsmimpl.Backend { return &backend{dir: dir} }

// backend finds its files by path or, if there is a folder, in that one's subdirectory, which it keeps open.
type backend struct {
	dir  string // for people, where there is a folder
	in   *folder.Folder
	name string // in that folder

	mu  sync.Mutex
	sub *folder.Folder // nil while it is not open
}

// In returns a backend for files in the subdirectory of that name of a directory that is held open, wherever the
// directory's path leads to by then. Close it when it is not used any more.
func (*backend) In(dir *folder.Folder, name string) dsmimpl.Backend {
	return &backend{dir: dir.Join(name), in: dir, name: name}
}

// Close lets go of the subdirectory; the next call would open it again.
func (b *backend) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.leaveLocked()
	return nil
}

// leaveLocked gives up the directory. The caller holds b's lock.
func (b *backend) leaveLocked() {
	if b.sub != nil {
		b.sub.Close()
	}
	b.sub = nil
}

func (*backend) Name() string { return "mmap" }

func (b *backend) path(o dsmimpl.Object) string { return o.Path(b.dir) }

// do calls a function with the place of o's file. If that is missing, the subdirectory may have been removed and made
// again, and the function is called once more.
func (b *backend) do(o dsmimpl.Object, call func(dir *folder.Folder, name string) error) error {
	if b.in == nil {
		return call(nil, b.path(o))
	}
	for again := false; ; again = true {
		sub, fresh, err := b.open()
		if err == nil {
			err = call(sub, o.Name())
		}
		if !errors.Is(err, fs.ErrNotExist) || fresh || again {
			return err
		}
		b.mu.Lock()
		if b.sub == sub {
			b.sub = nil // others may be at work in it: it is closed when it is forgotten
		}
		b.mu.Unlock()
	}
}

func (b *backend) open() (sub *folder.Folder, fresh bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.sub == nil {
		fresh = true
		if b.sub, err = b.in.Sub(b.name); err != nil {
			b.sub = nil
			return nil, true, errkind.Classify(err)
		}
	}
	return b.sub, fresh, nil
}

func (b *backend) makeDirectory() error {
	if b.in != nil {
		return b.in.MakeSub(b.name)
	}
	return folder.MakeAll(b.dir)
}

func (b *backend) Create(ctx context.Context, o dsmimpl.Object) (dsmimpl.Mapping, uint64, error) {
	if err := dsmimpl.CheckSize(o.Size); err != nil {
		return dsmimpl.Mapping{}, 0, err
	}
	var bytes []byte
	create := func(dir *folder.Folder, name string) (err error) {
		bytes, err = filemap.Create(ctx, dir, name, o.Size)
		return err
	}
	err := b.do(o, create)
	if errors.Is(err, errkind.NotFound) {
		if err = b.makeDirectory(); err == nil {
			failpoint.Hit("mmapfile/create/directory")
			err = b.do(o, create)
		}
	}
	switch {
	case filemap.Full(err) && filemap.NoInodes(b.dir):
		err = fmt.Errorf("%w; the file system of %s has no inodes left: remove files there, or set mmap_directory to "+
			"another one", err, b.dir)
	case filemap.Full(err):
		size, free := filemap.Usage(b.dir)
		err = fmt.Errorf("%w; the file system of %s holds %s, of which %s are free: make room, or set "+
			"mmap_directory to a larger one", err, b.dir, bytesize.Format(size), bytesize.Format(free))
	}
	return dsmimpl.Mapping{Bytes: bytes}, 0, err
}

func (b *backend) Attach(_ context.Context, o dsmimpl.Object, a dsmimpl.Access) (dsmimpl.Mapping, error) {
	var bytes []byte
	err := b.do(o, func(dir *folder.Folder, name string) (err error) {
		bytes, err = filemap.Open(dir, name, o.Size, a == dsmimpl.ReadWrite)
		return err
	})
	return dsmimpl.Mapping{Bytes: bytes}, err
}

func (b *backend) Destroy(_ context.Context, o dsmimpl.Object) error {
	err := b.do(o, filemap.Remove)
	if errors.Is(err, errkind.NotFound) { // there is no directory
		return nil
	}
	return err
}

func (b *backend) InUse(_ context.Context, o dsmimpl.Object) (used bool, err error) {
	err = b.do(o, func(dir *folder.Folder, name string) (err error) {
		used, err = filemap.InUse(dir, name)
		return err
	})
	return used, err
}

// Room says how large the file system of the files is, and how much of it is free, in bytes.
func (b *backend) Room() (where string, size, free uint64) {
	size, free = filemap.Usage(b.dir)
	return b.dir, size, free
}

func (b *backend) Memory() string {
	if b.in != nil {
		return "" // it comes and goes with the instance's directory
	}
	for dir := b.dir; ; dir = filepath.Dir(dir) { // the directory may be made later
		if at := filemap.Device(dir); at != "" {
			return b.dir + " on " + at
		}
		if dir == filepath.Dir(dir) {
			return ""
		}
	}
}

func (*backend) Detach(m dsmimpl.Mapping) error { return filemap.Unmap(m.Bytes) }

func (*backend) DetachGuarded(m dsmimpl.Mapping) error { return filemap.Guard(m.Bytes) }

func (*backend) Unguard(m dsmimpl.Mapping) error { return filemap.Unmap(m.Bytes) }

func (*backend) Swap(m dsmimpl.Mapping, from, to int) error { return filemap.Swap(m.Bytes[from:to]) }

func (*backend) Unswap(m dsmimpl.Mapping) error { return filemap.Unmap(m.Bytes) }

func (b *backend) AttachPart(
	_ context.Context, o dsmimpl.Object, at, size int,
) (m dsmimpl.Mapping, part []byte, err error) {
	err = b.do(o, func(dir *folder.Folder, name string) (err error) {
		m.Bytes, part, err = filemap.OpenPart(dir, name, at, size)
		return err
	})
	return m, part, err
}

func (b *backend) Locate(o dsmimpl.Object) string { return b.path(o) }

// List finds a life's files by their names; other files in the directory are not looked at.
func (b *backend) List(_ context.Context, life uuid.UUID, _ uint64) ([]dsmimpl.Object, error) {
	if b.in == nil {
		return dsmimpl.ListDir(b.dir, life)
	}
	sub, err := b.in.Sub(b.name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, errkind.Classify(err)
	}
	defer sub.Close()
	d, err := sub.Open(".", os.O_RDONLY, 0)
	if err != nil {
		return nil, errkind.Classify(err)
	}
	defer d.Close()
	return dsmimpl.ListFiles(d, life)
}
