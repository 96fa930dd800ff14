package posix

import (
	"context"
	"errors"
	"fmt"

	"github.com/godsm/godsm/dsmimpl"
	"github.com/godsm/godsm/internal/bytesize"
	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/filemap"
	"github.com/google/uuid"
)

// Shared-memory objects are files on this mount; shm_open does no more than add the folder.
const mount = "/dev/shm"

func path(o dsmimpl.Object) string { return o.Path(mount) }

func create(ctx context.Context, o dsmimpl.Object) ([]byte, error) {
	return filemap.Create(ctx, nil, path(o), o.Size)
}

func attach(o dsmimpl.Object, writable bool) ([]byte, error) {
	return filemap.Open(nil, path(o), o.Size, writable)
}

func attachPart(o dsmimpl.Object, at, size int) (all, part []byte, err error) {
	return filemap.OpenPart(nil, path(o), at, size)
}

func unlink(o dsmimpl.Object) error { return filemap.Remove(nil, path(o)) }

// List finds a life's objects by their names.
func (backend) List(_ context.Context, life uuid.UUID, _ uint64) ([]dsmimpl.Object, error) {
	return dsmimpl.ListDir(mount, life)
}

func (backend) InUse(_ context.Context, o dsmimpl.Object) (bool, error) {
	return filemap.InUse(nil, path(o))
}

func (backend) Memory() string {
	if at := filemap.Device(mount); at != "" {
		return mount + " on " + at
	}
	return ""
}

func explain(err error) error {
	switch {
	case filemap.Full(err):
		size, free := filemap.Usage(mount)
		return fmt.Errorf("%w; %s holds %s, of which %s are free: enlarge it (mount -o remount,size=... %s; "+
			"docker run --shm-size=...; a memory-backed emptyDir in Kubernetes) or choose "+
			"another dynamic_shared_memory_type", err, mount, bytesize.Format(size), bytesize.Format(free), mount)
	case errors.Is(err, errkind.NotFound):
		return errkind.As(errkind.Unsupported,
			fmt.Errorf("%w; is there no tmpfs on %s? mount one or choose another dynamic_shared_memory_type",
				err, mount))
	}
	return err
}
