package filemap

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/sys/folder"
	"golang.org/x/sys/unix"
)

// InUse reports whether any process, in whatever namespace, has a file of this user's open or mapped. The kernel tells:
// it grants a write lease to no process while another has the file. A missing file is ErrNotFound, one that is not ours
// ErrPermission; where the file system knows no leases the error is ErrUnsupported.
func InUse(dir *folder.Folder, name string) (bool, error) {
	path := pathOf(dir, name)
	fd, err := open(dir, name, unix.O_RDONLY|unix.O_NONBLOCK)
	if err != nil {
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.ETXTBSY) {
			return true, nil // another process asks, too
		}
		return false, err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	switch err := unix.Fstat(fd, &st); {
	case err != nil:
		return false, &fs.PathError{Op: "fstat", Path: path, Err: err}
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return false, errkind.As(errkind.Permission, fmt.Errorf("%s is not a regular file", path))
	case int(st.Uid) != os.Geteuid():
		return false, errkind.As(errkind.Permission, fmt.Errorf("%s belongs to user %d", path, st.Uid))
	}
	_, err = unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, unix.F_WRLCK)
	failpoint.Hit("filemap/inuse/asked")
	switch {
	case err == nil:
		_, _ = unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, unix.F_UNLCK)
		return false, nil
	case err == unix.EAGAIN || err == unix.EBUSY:
		return true, nil
	case err == unix.EINVAL || err == unix.ENOTSUP || err == unix.ENOLCK || err == unix.EACCES:
		return false, errkind.As(errkind.Unsupported, &fs.PathError{Op: "lease", Path: path, Err: err})
	}
	return false, &fs.PathError{Op: "lease", Path: path, Err: err}
}

// nocow is FS_NOCOW_FL of linux/fs.h.
const nocow = 0x00800000

// overwritable keeps a file of a copy-on-write file system from being copied at each write, for which there may be no
// room later. It must be empty yet.
func overwritable(fd int) {
	var st unix.Statfs_t
	if unix.Fstatfs(fd, &st) != nil || uint32(st.Type) != unix.BTRFS_SUPER_MAGIC {
		return
	}
	if flags, err := unix.IoctlGetUint32(fd, unix.FS_IOC_GETFLAGS); err == nil {
		_ = unix.IoctlSetPointerInt(fd, unix.FS_IOC_SETFLAGS, int(flags|nocow))
	}
}
