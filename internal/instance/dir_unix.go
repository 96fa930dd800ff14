//go:build linux || darwin || freebsd

package instance

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"github.com/godsm/godsm/internal/errkind"
	"golang.org/x/sys/unix"
)

// checkOwner refuses a directory that another user could have written into; root is another user too.
func checkOwner(path string, info fs.FileInfo) error {
	st := info.Sys().(*syscall.Stat_t)
	switch {
	case int(st.Uid) != os.Geteuid():
		return errkind.As(errkind.Permission,
			fmt.Errorf("%s belongs to user %d, and this process runs as user %d: run as the owner "+
				"(an instance is for the processes of one user)", path, st.Uid, os.Geteuid()))
	case info.Mode().Perm()&0o022 != 0:
		return errkind.As(errkind.Permission,
			fmt.Errorf("%s can be written by others (mode %#o): chmod go-w %s", path, info.Mode().Perm(), path))
	}
	return nil
}

func (d *Dir) tryLock() (unlock func(), held bool, err error) {
	f, err := d.Folder.Open(".", os.O_RDONLY, 0)
	if err != nil {
		return nil, false, err
	}
	for {
		switch err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err {
		case nil:
			return func() { f.Close() }, false, nil
		case unix.EINTR:
			continue
		case unix.EWOULDBLOCK:
			f.Close()
			return nil, true, nil
		default:
			f.Close()
			return nil, false, &fs.PathError{Op: "flock", Path: d.Path, Err: err}
		}
	}
}

// Remove removes the directory, whose lock the caller holds, and with it the lock.
func (d *Dir) Remove(unlock func()) error {
	defer unlock()
	if moved, err := d.Moved(); err != nil || moved {
		return err // what its path leads to now is not ours
	}
	return os.RemoveAll(d.Path)
}
