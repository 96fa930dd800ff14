package posix

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/godsm/godsm/dsmimpl"
	"github.com/godsm/godsm/internal/bytesize"
	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/sys/filemap"
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

// Abandoned lists the control segments of this user's that no process has open; read tells from an object's bytes
// whether it is one, and of which life.
func (backend) Abandoned(_ context.Context, read func([]byte) (uuid.UUID, uint64, bool)) (list []dsmimpl.Object,
	err error) {
	entries, err := os.ReadDir(mount)
	for _, e := range entries {
		short, _, handle, ok := dsmimpl.ParseName(e.Name())
		if !ok || handle != dsmimpl.ControlHandle {
			continue
		}
		at := mount + "/" + e.Name()
		if used, err := filemap.InUse(nil, at); err != nil || used {
			continue
		}
		b, err := filemap.Open(nil, at, 0, false)
		if err != nil {
			continue
		}
		life, generation, ok := read(b)
		_ = filemap.Unmap(b)
		o := dsmimpl.Object{Life: life, Generation: generation, Handle: handle}
		if ok && dsmimpl.ShortID(life) == short && path(o) == at {
			list = append(list, o)
		}
	}
	return list, errkind.Classify(err)
}

func explain(err error) error {
	switch {
	case filemap.Full(err) && filemap.NoInodes(mount):
		return fmt.Errorf("%w; %s has no inodes left: remove files there, or give it more "+
			"(mount -o remount,nr_inodes=... %s)", err, mount, mount)
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
