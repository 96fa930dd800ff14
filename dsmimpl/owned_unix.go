//go:build unix

package dsmimpl

import (
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// lookOwned returns the size of an entry of an open directory, and whether it is a regular file of this user's.
func lookOwned(dir *os.File, e fs.DirEntry) (size int64, ours bool) {
	var st unix.Stat_t
	if err := unix.Fstatat(int(dir.Fd()), e.Name(), &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return 0, false
	}
	return st.Size, st.Mode&unix.S_IFMT == unix.S_IFREG && int(st.Uid) == os.Geteuid()
}
