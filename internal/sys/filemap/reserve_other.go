//go:build darwin || freebsd

package filemap

import "golang.org/x/sys/unix"

// allocate fails: no call of these systems reserves on every file system (ZFS refuses posix_fallocate). Reserve writes zeros
// instead.
func allocate(int, int64, int64) error { return unix.EOPNOTSUPP }
