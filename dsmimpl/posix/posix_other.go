//go:build darwin || freebsd

package posix

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/godsm/godsm/dsmimpl"
	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/sys/filemap"
	"golang.org/x/sys/unix"
)

// Here objects are kernel objects behind shm_open and shm_unlink; they can't be listed, so the backend is
// no Lister. Sized by ftruncate, which macOS allows once in an object's life. Memory is reserved where the system
// offers it for such objects (FreeBSD); on macOS nothing does.

func path(o dsmimpl.Object) string { return "/" + o.Name() }

func create(ctx context.Context, o dsmimpl.Object) ([]byte, error) {
	name := path(o)
	fd, err := shmOpen(name, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL, 0o600)
	if err != nil {
		return nil, errkind.Classify(&fs.PathError{Op: "shm_open", Path: name, Err: err})
	}
	b, err := size(ctx, fd, name, o.Size)
	if err != nil {
		_ = shmUnlink(name) // ours: O_EXCL made it
		return nil, err
	}
	return b, nil
}

func size(ctx context.Context, fd int, name string, n int) ([]byte, error) {
	err := unix.Ftruncate(fd, int64(n))
	if err == nil {
		err = reserve(ctx, fd, int64(n))
	}
	if err != nil {
		unix.Close(fd)
		return nil, errkind.Classify(&fs.PathError{Op: "ftruncate", Path: name, Err: err})
	}
	return filemap.Map(fd, name, n, true)
}

func attach(o dsmimpl.Object, writable bool) ([]byte, error) {
	fd, err := open(o, writable)
	if err != nil {
		return nil, err
	}
	return filemap.Map(fd, path(o), o.Size, writable) // with size 0 macOS gives whole pages
}

func attachPart(o dsmimpl.Object, at, size int) (all, part []byte, err error) {
	fd, err := open(o, true)
	if err != nil {
		return nil, nil, err
	}
	return filemap.MapPart(fd, path(o), at, size)
}

func open(o dsmimpl.Object, writable bool) (fd int, err error) {
	flags := unix.O_RDONLY
	if writable {
		flags = unix.O_RDWR
	}
	if fd, err = shmOpen(path(o), flags, 0); err != nil {
		err = errkind.Classify(&fs.PathError{Op: "shm_open", Path: path(o), Err: err})
	}
	return fd, err
}

func unlink(o dsmimpl.Object) error {
	if err := shmUnlink(path(o)); err != nil && err != unix.ENOENT {
		return errkind.Classify(&fs.PathError{Op: "shm_unlink", Path: path(o), Err: err})
	}
	return nil
}

func explain(err error) error {
	if errors.Is(err, errkind.NoSpace) {
		return fmt.Errorf("%w; free memory or choose another dynamic_shared_memory_type", err)
	}
	return err
}
