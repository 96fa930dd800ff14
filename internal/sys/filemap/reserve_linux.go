package filemap

import "golang.org/x/sys/unix"

const (
	noSync    = 0
	noReserve = unix.MAP_NORESERVE
)

func allocate(fd int, at, n int64) error { return unix.Fallocate(fd, 0, at, n) }
