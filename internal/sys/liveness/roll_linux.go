package liveness

import (
	"io/fs"
	"os"
	"sync"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/sys/folder"
	"golang.org/x/sys/unix"
)

// Roll is an open members file: byte n is the witness of row n, as an open-file-description lock. Its methods are safe
// for concurrent use and don't block.
type Roll struct {
	dir     *folder.Folder
	name    string
	inForce func() (ino uint64, ok bool) // nil: always the file that was opened

	mu   sync.RWMutex
	now  *file
	next *file        // that is to come in its place, or has; nil if there is none
	held map[int]bool // rows that this Roll has taken
}

// file is a members file through two descriptors; they are -1 after close.
type file struct {
	hold, ask int
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
	f, err := openFile(dir, name)
	if err != nil {
		return nil, err
	}
	return &Roll{dir: dir, name: name, now: f, held: map[int]bool{}}, nil
}

func openFile(dir *folder.Folder, name string) (*file, error) {
	path := at(dir, name)
	f := &file{hold: -1, ask: -1}
	for _, fd := range []*int{&f.hold, &f.ask} {
		var err error
		// O_NONBLOCK, in case that a process has put a FIFO here.
		if *fd, err = open(dir, name, unix.O_NONBLOCK); err != nil {
			*fd = -1
			f.close()
			return nil, &fs.PathError{Op: "open", Path: path, Err: err}
		}
	}
	var hold, ask unix.Stat_t
	if err := unix.Fstat(f.hold, &hold); err != nil {
		f.close()
		return nil, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	if err := unix.Fstat(f.ask, &ask); err != nil || ask.Dev != hold.Dev || ask.Ino != hold.Ino ||
		hold.Mode&unix.S_IFMT != unix.S_IFREG {
		f.close()
		// replaced between the two opens, or no file
		return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrInvalid}
	}
	f.id = Identity{Dev: uint64(hold.Dev), Ino: hold.Ino}
	return f, nil
}

// Identity returns that of the file.
func (r *Roll) Identity() Identity {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.now.id
}

// Take locks the row's byte; false if another Roll has it.
func (r *Roll) Take(row int) (bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	took, err := r.now.take(row)
	if took && r.next != nil {
		if took, err = r.next.take(row); !took {
			_ = r.now.drop(row)
		}
	}
	if took {
		r.held[row] = true
	}
	return took, err
}

// Drop gives the row's byte back.
func (r *Roll) Drop(row int) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.held, row)
	if r.next != nil {
		_ = r.next.drop(row)
	}
	return r.now.drop(row)
}

// Held reports whether a Roll, this one too, holds the row's byte. Where that can't be told it is true.
func (r *Roll) Held(row int) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	f := r.now
	if r.next != nil && r.inForce != nil {
		if ino, ok := r.inForce(); ok && ino == r.next.id.Ino {
			f = r.next
		}
	}
	for {
		if f.isHeld(row) {
			return true
		}
		// Another file may have come in force, which who joined since has taken its byte of. If that is not so now, it
		// was not so when this one was asked.
		if r.inForce == nil {
			return false
		}
		switch ino, ok := r.inForce(); {
		case ok && ino == f.id.Ino:
			return false
		case ok && r.next != nil && f != r.next && ino == r.next.id.Ino:
			f = r.next
		default:
			return true
		}
	}
}

// Count says how many of the rows below n are held. It asks for ranges, since few are.
func (r *Roll) Count(n int) (int, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.now.count(0, int64(n))
}

// Close ends the Roll and gives back what it holds.
func (r *Roll) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now.close()
	if r.next != nil {
		r.next.close()
	}
}

func (f *file) take(row int) (bool, error) {
	err := f.lock(row, unix.F_WRLCK)
	if err == unix.EAGAIN || err == unix.EACCES {
		return false, nil
	}
	return err == nil, err
}

func (f *file) drop(row int) error { return f.lock(row, unix.F_UNLCK) }

func (f *file) lock(row int, kind int16) error {
	l := unix.Flock_t{Type: kind, Start: int64(row), Len: 1}
	for {
		if err := unix.FcntlFlock(uintptr(f.hold), unix.F_OFD_SETLK, &l); err != unix.EINTR {
			return err
		}
	}
}

func (f *file) isHeld(row int) bool {
	l := unix.Flock_t{Type: unix.F_WRLCK, Start: int64(row), Len: 1}
	err := f.getlk(&l)
	return err != nil || l.Type != unix.F_UNLCK
}

func (f *file) getlk(l *unix.Flock_t) error {
	for {
		if err := unix.FcntlFlock(uintptr(f.ask), unix.F_OFD_GETLK, l); err != unix.EINTR {
			return err
		}
	}
}

func (f *file) count(from, to int64) (int, error) {
	if from >= to {
		return 0, nil
	}
	l := unix.Flock_t{Type: unix.F_WRLCK, Start: from, Len: to - from}
	if err := f.getlk(&l); err != nil || l.Type == unix.F_UNLCK {
		return 0, os.NewSyscallError("fcntl", err)
	}
	begin, end := max(l.Start, from), to // any lock in the range, not the first
	if l.Len > 0 {
		end = min(l.Start+l.Len, to)
	}
	below, err := f.count(from, begin)
	if err != nil {
		return 0, err
	}
	above, err := f.count(end, to)
	return below + int(end-begin) + above, err
}

// close gives the locks back by name: a process that is just being forked may have the descriptors for a moment longer.
func (f *file) close() {
	if f.hold >= 0 {
		_ = unix.FcntlFlock(uintptr(f.hold), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_UNLCK})
	}
	for _, fd := range []*int{&f.hold, &f.ask} {
		if *fd >= 0 {
			_ = unix.Close(*fd)
		}
		*fd = -1
	}
}
