package liveness

import (
	"io/fs"
	"os"
	"sync"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/folder"
	"golang.org/x/sys/unix"
)

// Roll is an open members file: byte n is the witness of row n, as an open-file-description lock. Its methods are safe
// for concurrent use and don't block.
type Roll struct {
	mu        sync.RWMutex // Close against the others
	hold, ask int          // descriptors; -1 after Close
	id        Identity
}

// CreateIn is Create in a directory that is held open.
func CreateIn(dir *folder.Folder, name string) error {
	err := failpoint.Err("liveness/create")
	fd := -1
	if err == nil {
		fd, err = open(dir, name, unix.O_CREAT|unix.O_EXCL)
	}
	if err != nil {
		return &fs.PathError{Op: "create", Path: at(dir, name), Err: err}
	}
	_ = unix.Fchmod(fd, 0o600) // whatever the umask is
	return unix.Close(fd)
}

func open(dir *folder.Folder, name string, flags int) (fd int, err error) {
	err = dir.Use(func(at int) error {
		for {
			fd, err = unix.Openat(at, name, unix.O_RDWR|unix.O_NOFOLLOW|unix.O_CLOEXEC|flags, 0o600)
			if err != unix.EINTR {
				return err
			}
		}
	})
	return fd, err
}

// OpenIn is Open in a directory that is held open.
func OpenIn(dir *folder.Folder, name string) (*Roll, error) {
	path := at(dir, name)
	r := &Roll{hold: -1, ask: -1}
	for _, fd := range []*int{&r.hold, &r.ask} {
		var err error
		// O_NONBLOCK, in case that somebody has put a FIFO here.
		if *fd, err = open(dir, name, unix.O_NONBLOCK); err != nil {
			*fd = -1
			r.Close()
			return nil, &fs.PathError{Op: "open", Path: path, Err: err}
		}
	}
	var hold, ask unix.Stat_t
	if err := unix.Fstat(r.hold, &hold); err != nil {
		r.Close()
		return nil, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	if err := unix.Fstat(r.ask, &ask); err != nil || ask.Dev != hold.Dev || ask.Ino != hold.Ino ||
		hold.Mode&unix.S_IFMT != unix.S_IFREG {
		r.Close()
		// replaced between the two opens, or no file
		return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrInvalid}
	}
	r.id = Identity{Dev: uint64(hold.Dev), Ino: hold.Ino}
	return r, nil
}

// Identity is that of the file.
func (r *Roll) Identity() Identity { return r.id }

// Take locks the row's byte; false if somebody else has it.
func (r *Roll) Take(row int) (bool, error) {
	err := r.lock(row, unix.F_WRLCK)
	if err == unix.EAGAIN || err == unix.EACCES {
		return false, nil
	}
	return err == nil, err
}

// Drop gives the row's byte back.
func (r *Roll) Drop(row int) error { return r.lock(row, unix.F_UNLCK) }

// Held says whether anybody, this Roll too, holds the row's byte. Where that can't be told it is true.
func (r *Roll) Held(row int) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	l := unix.Flock_t{Type: unix.F_WRLCK, Start: int64(row), Len: 1}
	err := r.getlk(&l)
	return err != nil || l.Type != unix.F_UNLCK
}

func (r *Roll) getlk(l *unix.Flock_t) error {
	for {
		if err := unix.FcntlFlock(uintptr(r.ask), unix.F_OFD_GETLK, l); err != unix.EINTR {
			return err
		}
	}
}

// Count says how many of the rows below n are held. It asks for ranges, since few are.
func (r *Roll) Count(n int) (int, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.count(0, int64(n))
}

func (r *Roll) count(from, to int64) (int, error) {
	if from >= to {
		return 0, nil
	}
	l := unix.Flock_t{Type: unix.F_WRLCK, Start: from, Len: to - from}
	if err := r.getlk(&l); err != nil || l.Type == unix.F_UNLCK {
		return 0, os.NewSyscallError("fcntl", err)
	}
	begin, end := max(l.Start, from), to // any lock in the range, not the first
	if l.Len > 0 {
		end = min(l.Start+l.Len, to)
	}
	below, err := r.count(from, begin)
	if err != nil {
		return 0, err
	}
	above, err := r.count(end, to)
	return below + int(end-begin) + above, err
}

// Close ends the Roll and gives back what it holds. It does so by name: a process that is just being forked may
// have the descriptors for a moment longer.
func (r *Roll) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.hold >= 0 {
		_ = unix.FcntlFlock(uintptr(r.hold), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_UNLCK})
	}
	for _, fd := range []*int{&r.hold, &r.ask} {
		if *fd >= 0 {
			_ = unix.Close(*fd)
		}
		*fd = -1
	}
}

func (r *Roll) lock(row int, kind int16) error {
	r.mu.RLock()
	defer r.mu.RUnlock()
	l := unix.Flock_t{Type: kind, Start: int64(row), Len: 1}
	for {
		if err := unix.FcntlFlock(uintptr(r.hold), unix.F_OFD_SETLK, &l); err != unix.EINTR {
			return err
		}
	}
}
