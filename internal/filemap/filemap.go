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
		failpoint.Hit("filemap/create/refused")
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
	return mapBytes(fd, path, 0, size, true)
}

// Open maps the existing file at path: size bytes of it, or all if size is 0.
func Open(path string, size int, writable bool) ([]byte, error) {
	fd, err := openExisting(path, writable)
	if err != nil {
		return nil, err
	}
	return Map(fd, path, size, writable)
}

// OpenPart maps the pages of the existing file at path that hold the size bytes at byte at, for reading and writing. All
// is the mapping, which Unmap is given; part are the bytes in it.
func OpenPart(path string, at, size int) (all, part []byte, err error) {
	fd, err := openExisting(path, true)
	if err != nil {
		return nil, nil, err
	}
	return MapPart(fd, path, at, size)
}

func openExisting(path string, writable bool) (fd int, err error) {
	flags := unix.O_RDONLY
	if writable {
		flags = unix.O_RDWR
	}
	fd, err = open(path, flags|unix.O_NONBLOCK) // a FIFO planted here must not hold us up
	if err == nil {
		failpoint.Hit("filemap/open/opened")
	}
	return fd, err
}

// Map maps an open file, size bytes of it or all if size is 0, after a look at what it is: a regular
// file of this user's that holds so much. It closes fd in any case.
func Map(fd int, path string, size int, writable bool) ([]byte, error) {
	defer unix.Close(fd)
	size, err := check(fd, path, size)
	if err != nil {
		return nil, err
	}
	return mapBytes(fd, path, 0, size, writable)
}

// MapPart is OpenPart of an open file. It closes fd in any case.
func MapPart(fd int, path string, at, size int) (all, part []byte, err error) {
	defer unix.Close(fd)
	if _, err := check(fd, path, at+size); err != nil {
		return nil, nil, err
	}
	head := at % os.Getpagesize()
	if all, err = mapBytes(fd, path, at-head, head+size, true); err != nil {
		return nil, nil, err
	}
	return all, all[head : head+size : head+size], nil
}

// check looks at what an open file is: a regular file of this user's that holds size bytes, or of any size if that is 0.
// It returns the size to map.
func check(fd int, path string, size int) (int, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return 0, &fs.PathError{Op: "fstat", Path: path, Err: err}
	}
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFREG && st.Mode&unix.S_IFMT != 0: // shm objects have no type on some systems
		return 0, errkind.As(errkind.Permission, fmt.Errorf("%s is not a regular file", path))
	case int(st.Uid) != euid:
		return 0, errkind.As(errkind.Permission, fmt.Errorf("%s belongs to user %d", path, st.Uid))
	case size == 0:
		size = int(st.Size)
	case st.Size < int64(size):
		return 0, errkind.As(errkind.Corrupt,
			fmt.Errorf("%s holds %d bytes, not %d: somebody truncated it", path, st.Size, size))
	}
	if size <= 0 {
		return 0, errkind.As(errkind.Corrupt, fmt.Errorf("%s is empty", path))
	}
	return size, nil
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
	err := failpoint.Err("filemap/guard")
	if err == nil {
		err = replace(b, unix.PROT_NONE)
	}
	return os.NewSyscallError("mmap", err)
}

// Swap puts private zero pages in the place of b, which begins on a page of a mapping and ends on one or with the
// mapping, in one step for each page. Memory for them is taken when they are written to. Unmap removes them.
func Swap(b []byte) error {
	err := failpoint.Err("filemap/swap")
	if err == nil {
		err = replace(b, unix.PROT_READ|unix.PROT_WRITE)
	}
	return os.NewSyscallError("mmap", err)
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

func mapBytes(fd int, path string, at, size int, writable bool) ([]byte, error) {
	var b []byte
	err := failpoint.Err("filemap/mmap")
	if err == nil {
		b, err = mmap(fd, at, size, writable)
	}
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
