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
	"time"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/sys/folder"
	"golang.org/x/sys/unix"
)

// chunk bounds the work between two looks at the context, and what an interrupted call has to do again.
const chunk = 16 << 20

// Create makes the file of that name in a directory that is held open, where no such file may exist, reserves size zero
// bytes and maps them read-write. On an error the file is gone again. Without a directory, here and below, the name is a
// path.
func Create(ctx context.Context, dir *folder.Folder, name string, size int) ([]byte, error) {
	fd, err := open(dir, name, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL)
	if err != nil {
		return nil, err
	}
	failpoint.Hit("filemap/create/opened")
	_ = unix.Fchmod(fd, 0o600) // whatever the umask is
	overwritable(fd)
	b, err := Make(ctx, fd, pathOf(dir, name), size)
	if err != nil {
		failpoint.Hit("filemap/create/refused")
		_ = unlink(dir, name) // ours: O_EXCL made it
		return nil, err
	}
	return b, nil
}

func pathOf(dir *folder.Folder, name string) string {
	if dir == nil {
		return name
	}
	return dir.Join(name)
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

// Open maps an existing file: size bytes of it, or all if size is 0.
func Open(dir *folder.Folder, name string, size int, writable bool) ([]byte, error) {
	fd, err := openExisting(dir, name, writable)
	if err != nil {
		return nil, err
	}
	return Map(fd, pathOf(dir, name), size, writable)
}

// OpenPart maps the pages of an existing file that hold the size bytes at byte at, for reading and writing. All is the
// mapping, which Unmap is given; part are the bytes in it.
func OpenPart(dir *folder.Folder, name string, at, size int) (all, part []byte, err error) {
	fd, err := openExisting(dir, name, true)
	if err != nil {
		return nil, nil, err
	}
	return MapPart(fd, pathOf(dir, name), at, size)
}

func openExisting(dir *folder.Folder, name string, writable bool) (fd int, err error) {
	flags := unix.O_RDONLY
	if writable {
		flags = unix.O_RDWR
	}
	fd, err = open(dir, name, flags|unix.O_NONBLOCK) // a FIFO planted here must not hold us up
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
	case int(st.Uid) != os.Geteuid():
		return 0, errkind.As(errkind.Permission, fmt.Errorf("%s belongs to user %d", path, st.Uid))
	case size == 0:
		size = int(st.Size)
	case st.Size < int64(size):
		return 0, errkind.As(errkind.Corrupt,
			fmt.Errorf("%s holds %d bytes, not %d: a process truncated it", path, st.Size, size))
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

// Remove unlinks a file; a missing one is success.
func Remove(dir *folder.Folder, name string) error {
	err := failpoint.Err("filemap/unlink")
	if err == nil {
		err = unlink(dir, name)
	}
	if err != nil && !missing(dir, name) { // a read-only mount, for one, refuses without a look
		return errkind.Classify(&fs.PathError{Op: "unlink", Path: pathOf(dir, name), Err: err})
	}
	return nil
}

func missing(dir *folder.Folder, name string) bool {
	var st unix.Stat_t
	return dir.Use(func(at int) error { return unix.Fstatat(at, name, &st, unix.AT_SYMLINK_NOFOLLOW) }) == unix.ENOENT
}

func unlink(dir *folder.Folder, name string) error {
	return dir.Use(func(at int) error {
		for {
			if err := unix.Unlinkat(at, name, 0); err != unix.EINTR {
				return err
			}
		}
	})
}

// Device names what is mounted at path, for comparison; empty if it can't be told.
func Device(path string) string {
	var st unix.Stat_t
	if unix.Stat(path, &st) != nil {
		return ""
	}
	return fmt.Sprintf("device %d:%d", unix.Major(uint64(st.Dev)), unix.Minor(uint64(st.Dev)))
}

// NoInodes reports whether the file system at path has room for no file more, however much for bytes.
func NoInodes(path string) bool {
	var st unix.Statfs_t
	return unix.Statfs(path, &st) == nil && st.Files > 0 && st.Ffree == 0
}

// Usage says how large the file system at path is and how much of it is free, in bytes; zeros if it can't tell.
func Usage(path string) (size, free uint64) {
	var st unix.Statfs_t
	if unix.Statfs(path, &st) != nil {
		return 0, 0
	}
	return uint64(st.Blocks) * uint64(st.Bsize), uint64(st.Bavail) * uint64(st.Bsize)
}

// lookPatience is how long InUse of another process, which takes a lease for a moment, may keep a file from being
// opened: that process may be stopped in the middle.
const lookPatience = time.Second

func open(dir *folder.Folder, name string, flags int) (fd int, err error) {
	end := time.Time{}
	for {
		err = dir.Use(func(at int) error {
			fd, err = unix.Openat(at, name, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
			return err
		})
		switch {
		case err == nil:
			return fd, nil
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN && end.IsZero():
			end = time.Now().Add(lookPatience)
			continue
		case err == unix.EAGAIN && time.Now().Before(end):
			time.Sleep(100 * time.Microsecond)
			continue
		}
		return -1, errkind.Classify(&fs.PathError{Op: "open", Path: pathOf(dir, name), Err: err})
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

// Full reports whether err means that the file system has no room, as opposed to the address space
// or a limit of this process.
func Full(err error) bool { return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) }
