//go:build unix

package folder

import (
	"errors"
	"io/fs"
	"os"
	"runtime"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

var errNoDirectory error = syscall.ENOTDIR

type handle struct{ *descriptor }

// descriptor is that of a directory; calls share it, and close waits for them.
type descriptor struct {
	mu sync.RWMutex
	fd int // -1 when it is closed
}

func (h *handle) open(path string) error {
	fd, err := retry(func() (int, error) { return unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0) })
	h.descriptor = &descriptor{fd: fd}
	return err
}

func (h *handle) openIn(f *Folder, name string) error {
	fd := -1
	err := f.Use(func(dir int) (err error) {
		fd, err = retry(func() (int, error) {
			return unix.Openat(dir, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		})
		return err
	})
	h.descriptor = &descriptor{fd: fd}
	return err
}

func (f *Folder) mkdir(name string) error {
	return f.Use(func(dir int) error {
		err := again(func() error { return unix.Mkdirat(dir, name, 0o700) })
		if err == nil {
			err = unix.Fchmodat(dir, name, 0o700, 0)
		}
		return err
	})
}

func (d *descriptor) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fd >= 0 {
		_ = unix.Close(d.fd)
	}
	d.fd = -1
}

// Use calls a function with the directory's descriptor, which the function must not keep. A nil folder is the working
// directory: names are paths then.
func (f *Folder) Use(call func(fd int) error) error {
	if f == nil {
		return call(unix.AT_FDCWD)
	}
	defer runtime.KeepAlive(f)
	f.mu.RLock()
	defer f.mu.RUnlock()
	return call(f.fd)
}

func (f *Folder) identity() (id Identity, err error) {
	err = f.Use(func(fd int) error {
		var st unix.Stat_t
		err := unix.Fstat(fd, &st)
		id = Identity{Dev: uint64(st.Dev), Ino: st.Ino}
		return err
	})
	return id, err
}

// Identify returns the identity of the directory that a path leads to.
func Identify(path string) (Identity, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return Identity{}, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return Identity{}, &fs.PathError{Op: "stat", Path: path, Err: errNoDirectory}
	}
	return Identity{Dev: uint64(st.Dev), Ino: st.Ino}, nil
}

// Stat returns what the directory itself is.
func (f *Folder) Stat() (info fs.FileInfo, err error) {
	file, err := f.Open(".", os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return file.Stat()
}

func (f *Folder) openFile(name string, flags int, mode fs.FileMode) (file *os.File, err error) {
	err = f.Use(func(dir int) error {
		fd, err := retry(func() (int, error) {
			return unix.Openat(dir, name, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC, uint32(mode.Perm()))
		})
		if err == nil {
			file = os.NewFile(uintptr(fd), f.Join(name))
		}
		return err
	})
	return file, err
}

func (f *Folder) remove(name string) error {
	return f.Use(func(dir int) error { return again(func() error { return unix.Unlinkat(dir, name, 0) }) })
}

func (f *Folder) rename(from, to string) error {
	return f.Use(func(dir int) error { return again(func() error { return unix.Renameat(dir, from, dir, to) }) })
}

func (f *Folder) lstat(name string) (info Info, err error) {
	var st unix.Stat_t
	err = f.Use(func(dir int) error {
		return again(func() error { return unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW) })
	})
	info.Identity = Identity{Dev: uint64(st.Dev), Ino: st.Ino}
	info.Type = types[uint32(st.Mode)&unix.S_IFMT]
	return info, err
}

var types = map[uint32]fs.FileMode{
	unix.S_IFDIR: fs.ModeDir, unix.S_IFLNK: fs.ModeSymlink, unix.S_IFIFO: fs.ModeNamedPipe,
	unix.S_IFSOCK: fs.ModeSocket, unix.S_IFBLK: fs.ModeDevice, unix.S_IFCHR: fs.ModeDevice | fs.ModeCharDevice,
}

// Sync makes renames last over a crash of the machine.
func (f *Folder) Sync() error {
	file, err := f.Open(".", os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	return errors.Join(file.Sync(), file.Close())
}

func retry(call func() (int, error)) (n int, err error) {
	for {
		if n, err = call(); err != unix.EINTR {
			return n, err
		}
	}
}

func again(call func() error) error {
	_, err := retry(func() (int, error) { return 0, call() })
	return err
}
