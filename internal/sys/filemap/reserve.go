//go:build linux || darwin || freebsd

package filemap

import (
	"context"
	"io/fs"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/failpoint"
	"golang.org/x/sys/unix"
)

// reserve gives the file its size, with memory or disk behind every byte. Each chunk is tried again after
// EINTR by itself: one large call that is always interrupted would undo its work and never end
// (PostgreSQL 422952ee78). Where the system can't allocate, zeros are written.
func reserve(ctx context.Context, fd int, path string, size int64) error {
	if size > chunk && !fits(fd, size) {
		return errkind.As(errkind.NoSpace, &fs.PathError{Op: "fallocate", Path: path, Err: unix.ENOSPC})
	}
	step, op := allocate, "fallocate"
	for at := int64(0); at < size; {
		if at > 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		n := min(size-at, chunk)
		switch err := step(fd, at, n); err {
		case nil:
			at += n
			failpoint.Hit("filemap/reserve/chunk")
		case unix.EINTR:
		case unix.EOPNOTSUPP, unix.ENODEV, unix.ENOSYS, unix.EINVAL:
			if op == "write" {
				return &fs.PathError{Op: op, Path: path, Err: err}
			}
			step, op = writeZeros, "write"
		default:
			return errkind.Classify(&fs.PathError{Op: op, Path: path, Err: err})
		}
	}
	return nil
}

// fits reports whether a file system has room for size bytes, or can't tell. It is asked first, so that a hopeless request
// does not fill the file system, for its other users, until it fails.
func fits(fd int, size int64) bool {
	var st unix.Statfs_t
	if unix.Fstatfs(fd, &st) != nil || st.Blocks == 0 {
		return true // it can't tell
	}
	return uint64(size) <= uint64(st.Bavail)*uint64(st.Bsize)
}

var zeros = make([]byte, 1<<20)

func writeZeros(fd int, at, n int64) error {
	for n > 0 {
		done, err := unix.Pwrite(fd, zeros[:min(n, int64(len(zeros)))], at)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		at, n = at+int64(done), n-int64(done)
	}
	return nil
}
