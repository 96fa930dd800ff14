//go:build linux || darwin || freebsd

package doctor

import (
	"github.com/godsm/godsm/internal/filemap"
	"golang.org/x/sys/unix"
)

func usage(path string) (size, free uint64) { return filemap.Usage(path) }

// writable says why this user can't write to a directory; nil if it can.
func writable(path string) error { return unix.Access(path, unix.W_OK|unix.X_OK) }
