//go:build linux || darwin || freebsd

// Package filemap turns a file descriptor into shared bytes: open exclusively, reserve, map, close. It is the body
// that the posix and mmapfile backends share; where the file stands and what a full file system means to a
// person is theirs to say.
//
// Memory is reserved when a file is made. A file that is only truncated to its size has holes, and a hole that can't
// be filled later is a SIGBUS in the middle of a store (PostgreSQL 899bd785c0).
package filemap

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/failpoint"
	"golang.org/x/sys/unix"
)

// euid is asked for once: it is a system call.
var euid = os.Geteuid()

// chunk bounds the work between two looks at the context, and what an interrupted call has to do again.
const chunk = 16 << 20

// Create makes the file at path (which must not exist), reserves size zero bytes and maps them read-write.
// On an error the file is gone again.
func Create(ctx context.Context, path string, size int) ([]byte, error) {
	fd, err := open(path, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL)
	if err != nil {
		return nil, err
	}
	failpoint.Hit("filemap/create/opened")
	b, err := Make(ctx, fd, path, size)
	if err != nil {
		_ = unlink(path) // ours: O_EXCL made it
		return nil, err
	}
	return b, nil
}

// Make reserves size zero bytes in the new, empty file fd and maps them. It closes fd in any case; path
// is for messages.
func Make(ctx context.Context, fd int, path string, size int) ([]byte, error) {
	defer unix.Close(fd)
	if err := reserve(ctx, fd, path, int64(size)); err != nil {
		return nil, err
	}
	failpoint.Hit("filemap/create/reserved")
	return mapBytes(fd, path, size, true)
}

// Open maps the existing file at path: size bytes of it, or all if size is 0.
func Open(path string, size int, writable bool) ([]byte, error) {
	flags := unix.O_RDONLY
	if writable {
		flags = unix.O_RDWR
	}
	fd, err := open(path, flags|unix.O_NONBLOCK) // a FIFO planted here must not hold us up
	if err != nil {
		return nil, err
	}
	failpoint.Hit("filemap/open/opened")
	return Map(fd, path, size, writable)
}

// Map maps an open file, size bytes of it or all if size is 0, after a look at what it is: a regular
// file of this user's that holds so much. It closes fd in any case.
func Map(fd int, path string, size int, writable bool) ([]byte, error) {
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, &fs.PathError{Op: "fstat", Path: path, Err: err}
	}
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFREG && st.Mode&unix.S_IFMT != 0: // shm objects have no type on some systems
		return nil, errkind.As(errkind.Permission, fmt.Errorf("%s is not a regular file", path))
	case int(st.Uid) != euid:
		return nil, errkind.As(errkind.Permission, fmt.Errorf("%s belongs to user %d", path, st.Uid))
	case size == 0:
		size = int(st.Size)
	case st.Size < int64(size):
		return nil, errkind.As(errkind.Corrupt,
			fmt.Errorf("%s holds %d bytes, not %d: somebody truncated it", path, st.Size, size))
	}
	if size <= 0 {
		return nil, errkind.As(errkind.Corrupt, fmt.Errorf("%s is empty", path))
	}
	return mapBytes(fd, path, size, writable)
}

// Unmap undoes Create or Open; b is the whole slice they returned.
func Unmap(b []byte) error {
	err := failpoint.Err("filemap/munmap")
	if err == nil {
		err = munmap(b)
	}
	if err != nil {
		return os.NewSyscallError("munmap", err)
	}
	return nil
}

// Guard puts an inaccessible range in the place of the mapping b, in one step: no other mapping can come in
// between. Unmap(b) removes the range.
func Guard(b []byte) error {
	if err := mapInaccessible(b); err != nil {
		return os.NewSyscallError("mmap", err)
	}
	return nil
}

// Remove unlinks the file at path; a missing one is success.
func Remove(path string) error {
	err := failpoint.Err("filemap/unlink")
	if err == nil {
		err = unlink(path)
	}
	if err != nil && !missing(path) { // a read-only mount, for one, refuses without a look
		return errkind.Classify(&fs.PathError{Op: "unlink", Path: path, Err: err})
	}
	return nil
}

func missing(path string) bool {
	var st unix.Stat_t
	return unix.Lstat(path, &st) == unix.ENOENT
}

func unlink(path string) error {
	for {
		if err := unix.Unlink(path); err != unix.EINTR {
			return err
		}
	}
}

// Usage says how large the file system at path is and how much of it is free, in bytes; zeros if it can't tell.
func Usage(path string) (size, free uint64) {
	var st unix.Statfs_t
	if unix.Statfs(path, &st) != nil {
		return 0, 0
	}
	return uint64(st.Blocks) * uint64(st.Bsize), uint64(st.Bavail) * uint64(st.Bsize)
}

func open(path string, flags int) (int, error) {
	for {
		fd, err := unix.Open(path, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return -1, errkind.Classify(&fs.PathError{Op: "open", Path: path, Err: err})
		}
		return fd, nil
	}
}

func mapBytes(fd int, path string, size int, writable bool) ([]byte, error) {
	b, err := mmap(fd, size, writable)
	if err != nil {
		return nil, errkind.Classify(&fs.PathError{Op: fmt.Sprintf("mmap %d bytes of", size),
			Path: path, Err: NoRoom(err)})
	}
	return b, nil
}

// NoRoom says of a mapping that the system refused what to raise.
func NoRoom(err error) error {
	if err == unix.ENOMEM {
		return fmt.Errorf("%w: no room in the address space (ulimit -v), or too many mappings (vm.max_map_count)", err)
	}
	return err
}

// Full says whether err means that the file system has no room, as opposed to the address space
// or a limit of this process.
func Full(err error) bool { return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) }
