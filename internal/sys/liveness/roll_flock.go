//go:build darwin || freebsd

package liveness

import (
	"io/fs"
	"strconv"
	"sync"

	"github.com/godsm/godsm/internal/sys/folder"
	"golang.org/x/sys/unix"
)

// Roll is an open members file. There are no open-file-description locks here, and POSIX ones are lost when any
// descriptor of the file is closed; so each row has a file of its own beside it, which its user holds by
// flock. Methods are safe for concurrent use and don't block.
type Roll struct {
	dir  *folder.Folder
	name string
	id   Identity
	mu   sync.Mutex
	held map[int]int // row to descriptor
}

// CreateIn is Create in a directory that is held open.
func CreateIn(dir *folder.Folder, name string) error {
	fd, err := openat(dir, name, unix.O_CREAT|unix.O_EXCL)
	if err != nil {
		return &fs.PathError{Op: "create", Path: at(dir, name), Err: err}
	}
	_ = unix.Fchmod(fd, 0o600) // whatever the umask is
	return unix.Close(fd)
}

func openat(dir *folder.Folder, name string, flags int) (fd int, err error) {
	err = dir.Use(func(at int) error {
		fd, err = unix.Openat(at, name, unix.O_RDWR|unix.O_NOFOLLOW|unix.O_CLOEXEC|flags, 0o600)
		return err
	})
	return fd, err
}

// OpenIn is Open in a directory that is held open, for as long as the Roll is used.
func OpenIn(dir *folder.Folder, name string) (*Roll, error) {
	var st unix.Stat_t
	if err := dir.Use(func(at int) error { return unix.Fstatat(at, name, &st, unix.AT_SYMLINK_NOFOLLOW) }); err != nil {
		return nil, &fs.PathError{Op: "open", Path: at(dir, name), Err: err}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, &fs.PathError{Op: "open", Path: at(dir, name), Err: fs.ErrInvalid}
	}
	return &Roll{dir: dir, name: name, id: Identity{Dev: uint64(st.Dev), Ino: uint64(st.Ino)}, held: map[int]int{}}, nil
}

// Identity returns that of the file.
func (r *Roll) Identity() Identity { return r.id }

func (r *Roll) open(row, flags int) (int, error) {
	fd, err := openat(r.dir, r.name+"."+strconv.Itoa(row), flags)
	if err == nil && flags&unix.O_CREAT != 0 {
		_ = unix.Fchmod(fd, 0o600) // whatever the umask is
	}
	return fd, err
}

// Take locks the row's file; false if another process has it.
func (r *Roll) Take(row int) (bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, mine := r.held[row]; mine {
		return false, nil
	}
	fd, err := r.open(row, unix.O_CREAT)
	if err != nil {
		return false, err
	}
	if err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		unix.Close(fd)
		if err == unix.EWOULDBLOCK {
			err = nil
		}
		return false, err
	}
	r.held[row] = fd
	return true, nil
}

// Drop gives the row's file back.
func (r *Roll) Drop(row int) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	fd, mine := r.held[row]
	if !mine {
		return nil
	}
	delete(r.held, row)
	return unix.Close(fd)
}

// Held reports whether any process, this Roll too, holds the row's file. Where that can't be told it is true. The
// question itself is a shared lock for a moment, which may make a Take at that moment fail.
func (r *Roll) Held(row int) bool {
	fd, err := r.open(row, 0)
	if err != nil {
		return err != unix.ENOENT
	}
	defer unix.Close(fd)
	return unix.Flock(fd, unix.LOCK_SH|unix.LOCK_NB) != nil
}

// Close ends the Roll and gives back what it holds.
func (r *Roll) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for row, fd := range r.held {
		unix.Close(fd)
		delete(r.held, row)
	}
}
