//go:build linux || darwin || freebsd

package instance

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/liveness"
	"golang.org/x/sys/unix"
)

// checkOwner refuses a directory that somebody else could have written into; root is somebody else too.
func checkOwner(path string, info fs.FileInfo) (liveness.Identity, error) {
	st := info.Sys().(*syscall.Stat_t)
	switch {
	case int(st.Uid) != os.Geteuid():
		return liveness.Identity{}, errkind.As(errkind.Permission,
			fmt.Errorf("%s belongs to user %d, and this process runs as user %d: run as the owner",
				path, st.Uid, os.Geteuid()))
	case info.Mode().Perm()&0o022 != 0:
		return liveness.Identity{}, errkind.As(errkind.Permission,
			fmt.Errorf("%s can be written by others (mode %#o): chmod go-w %s", path, info.Mode().Perm(), path))
	}
	return liveness.Identity{Dev: uint64(st.Dev), Ino: st.Ino}, nil
}

func (d *Dir) tryLock() (unlock func(), held bool, err error) {
	fd, err := unix.Open(d.Path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	for err == unix.EINTR {
		fd, err = unix.Open(d.Path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	}
	if err != nil {
		return nil, false, &fs.PathError{Op: "open", Path: d.Path, Err: err}
	}
	switch err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); err {
	case nil:
		return func() { unix.Close(fd) }, false, nil
	case unix.EWOULDBLOCK:
		unix.Close(fd)
		return nil, true, nil
	default:
		unix.Close(fd)
		return nil, false, &fs.PathError{Op: "flock", Path: d.Path, Err: err}
	}
}

// Remove removes the directory, whose lock the caller holds, and with it the lock.
func (d *Dir) Remove(unlock func()) error {
	defer unlock()
	return os.RemoveAll(d.Path)
}
