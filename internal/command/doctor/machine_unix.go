//go:build linux || darwin || freebsd

package doctor

import (
	"io/fs"
	"syscall"

	"github.com/godsm/godsm/internal/sys/filemap"
	"golang.org/x/sys/unix"
)

func usage(path string) (size, free uint64) { return filemap.Usage(path) }

// writable says why this user can't write to a directory; nil if it can.
func writable(path string) error { return unix.Access(path, unix.W_OK|unix.X_OK) }

// ownerOf returns the user that a file of the real file system belongs to.
func ownerOf(info fs.FileInfo) (uid int, ok bool) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return int(st.Uid), true
}
