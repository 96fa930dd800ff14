//go:build linux

package compat

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// state is what this process has of a lock file. Legal moves: free -> taking -> shared, alone or whole -> free, and
// taking -> free if the wait ends.
type state int

const (
	free   state = iota
	taking       // one goroutine waits for the file
	shared       // by OFD, with the table's file
	alone        // exclusively, since another table guards the store or the file system is not to be trusted
	whole        // exclusively, for one Whole
)

const (
	rest     = 10 * time.Millisecond // for which the file stays locked after the last hold
	firstNap = time.Millisecond
	maxNap   = 10 * time.Millisecond
)

// file is a lock file in this process. There is one for each inode, as long as the process lives.
type file struct {
	path  string
	inode uint64
	big   int // the lock file's descriptor
	guard int // that of the table's file: byte 0 is locked by who has locks of the table, byte 1 by who waits for the whole

	mu      sync.Mutex
	state   state
	users   int           // holds and waits that rest on it
	wants   int           // goroutines that wait for the whole
	idle    time.Time     // since when there is no user
	resting bool          // a timer looks whether idle is long ago
	changed chan struct{} // closed at the next change
	gate    gate
	table   uint64 // whose stores are open here
	stores  int
}

type inode struct{ dev, ino uint64 }

var files = struct {
	sync.Mutex
	of map[inode]*file
}{of: map[inode]*file{}}

// open returns the file of a path, which it makes if it is missing. It opens no second descriptor of an inode.
func open(path string) (*file, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	files.Lock()
	defer files.Unlock()
	var st unix.Stat_t
	if unix.Stat(path, &st) == nil {
		if f := files.of[inode{st.Dev, st.Ino}]; f != nil {
			return f, nil
		}
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	f := &file{path: path, changed: make(chan struct{})}
	if f.big, err = openFile(path); err != nil {
		return nil, err
	}
	if err := unix.Fstat(f.big, &st); err != nil {
		return nil, fmt.Errorf("compat: %s: %w", path, err)
	}
	if g := files.of[inode{st.Dev, st.Ino}]; g != nil { // it came by that name meanwhile; the descriptor stays open
		return g, nil
	}
	if f.guard, err = openFile(path + ".table"); err != nil {
		return nil, err
	}
	f.inode = st.Ino
	f.gate.partial = inPidNamespace()
	files.of[inode{st.Dev, st.Ino}] = f
	return f, nil
}

func openFile(path string) (int, error) {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return 0, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return fd, nil
}

// lockRange changes a lock of this process by OFD. Busy: another one is in the way.
func lockRange(fd int, kind int16, from, n int64) (busy bool, err error) {
	for {
		err = unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLK, &unix.Flock_t{Type: kind, Start: from, Len: n})
		switch err {
		case unix.EINTR:
			continue
		case unix.EAGAIN, unix.EACCES:
			return true, nil
		}
		return false, err
	}
}

// inTheWay returns the pid of one who holds a lock that is in the way of one of that kind: -1 by OFD, 0 if there is none.
func inTheWay(fd int, kind int16, from, n int64) int {
	l := unix.Flock_t{Type: kind, Start: from, Len: n}
	if unix.FcntlFlock(uintptr(fd), unix.F_OFD_GETLK, &l) != nil || l.Type == unix.F_UNLCK {
		return 0
	}
	return int(l.Pid)
}

// changedLocked wakes all who wait for a change. It runs under mu, as all that ends in Locked.
func (f *file) changedLocked() {
	close(f.changed)
	f.changed = make(chan struct{})
}

// sleepLocked lets mu go until the next change, for d at most if that is not 0.
func (f *file) sleepLocked(ctx context.Context, d time.Duration) error {
	changed := f.changed
	f.mu.Unlock()
	defer f.mu.Lock()
	var due <-chan time.Time
	if d > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		due = t.C
	}
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-changed:
	case <-due:
	}
	return nil
}

// enter adds a user, and locks the file for it if it is the first. Holding says that its owner has locks of the store
// already, which others may wait for.
func (f *file) enter(ctx context.Context, id uint64, o Options, holding bool) error {
	began := time.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	for {
		var nap time.Duration
		switch {
		case f.state == taking || f.state == whole || f.wants > 0 && !holding:
		case !holding && f.gate.closedLocked(f):
			nap = firstNap * 5
		case f.state == shared || f.state == alone:
			f.users++
			return nil
		default:
			f.state = taking
			f.mu.Unlock()
			got, err := f.take(ctx, id, o, began)
			f.mu.Lock()
			f.state = got
			f.changedLocked()
			if err != nil {
				return err
			}
			f.users = 1
			f.gate.since = time.Now()
			return nil
		}
		if err := f.sleepLocked(ctx, nap); err != nil {
			return &WaitError{f.path, max(inTheWay(f.big, unix.F_RDLCK, 0, 0), 0), time.Since(began), err}
		}
	}
}

// take locks the file, shared or alone.
func (f *file) take(ctx context.Context, id uint64, o Options, began time.Time) (state, error) {
	got := shared
	if o.Alone || network(f.big) {
		got = alone
	} else if same, err := f.claim(ctx, id, began); err != nil {
		return free, err
	} else if !same && o.Refuse {
		return free, fmt.Errorf("compat: lock %s: %w", f.path, ErrOtherTable)
	} else if !same {
		got = alone
	}
	kind := int16(unix.F_RDLCK)
	if got == alone {
		kind = unix.F_WRLCK
	}
	if err := f.lock(ctx, kind, began); err != nil {
		_, _ = lockRange(f.guard, unix.F_UNLCK, 0, 1)
		return free, err
	}
	return got, nil
}

// lock waits for the lock file.
func (f *file) lock(ctx context.Context, kind int16, began time.Time) error {
	if kind == unix.F_WRLCK { // others let it in
		_, _ = lockRange(f.guard, unix.F_RDLCK, 1, 1)
		defer func() { _, _ = lockRange(f.guard, unix.F_UNLCK, 1, 1) }()
	}
	for nap := firstNap; ; nap = min(2*nap, maxNap) {
		busy, err := lockRange(f.big, kind, 0, 0)
		if err != nil {
			return fmt.Errorf("compat: lock %s: %w", f.path, err)
		}
		if !busy {
			return nil
		}
		pid := inTheWay(f.big, kind, 0, 0)
		if pid == os.Getpid() {
			return &WaitError{f.path, pid, time.Since(began), ErrOldInProcess}
		}
		if err := sleep(ctx, nap); err != nil {
			return &WaitError{f.path, max(pid, 0), time.Since(began), err}
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}

// claim locks the table's file, shared, and reports whether it names the table of that number: whoever finds the file not
// locked writes it there.
func (f *file) claim(ctx context.Context, id uint64, began time.Time) (same bool, err error) {
	text := fmt.Appendf(nil, "%016x\n", id)
	for {
		busy, err := lockRange(f.guard, unix.F_WRLCK, 0, 1)
		if err == nil && !busy {
			if _, err = unix.Pwrite(f.guard, text, 0); err == nil {
				_, err = lockRange(f.guard, unix.F_RDLCK, 0, 1) // in one step
			}
			return err == nil, f.failed(err)
		}
		if err == nil {
			busy, err = lockRange(f.guard, unix.F_RDLCK, 0, 1)
		}
		if err != nil {
			return false, f.failed(err)
		}
		if !busy {
			b := make([]byte, len(text))
			n, err := unix.Pread(f.guard, b, 0)
			if same = err == nil && string(b[:n]) == string(text); !same {
				_, _ = lockRange(f.guard, unix.F_UNLCK, 0, 1)
			}
			return same, f.failed(err)
		}
		if err := sleep(ctx, firstNap); err != nil { // one writes it
			return false, &WaitError{f.path, 0, time.Since(began), err}
		}
	}
}

func (f *file) failed(err error) error {
	if err == nil {
		return nil
	}
	_, _ = lockRange(f.guard, unix.F_UNLCK, 0, 1)
	return fmt.Errorf("compat: %s.table: %w", f.path, err)
}

// leave takes a user away. The last one's lock stays for a while, in which the next one costs nothing.
func (f *file) leave() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.users--; f.users > 0 {
		return
	}
	if f.state != shared || f.wants > 0 || f.gate.shut {
		f.releaseLocked()
		return
	}
	f.idle = time.Now()
	if !f.resting {
		f.resting = true
		time.AfterFunc(rest, f.rested)
	}
}

// rested gives the file back when it has not been used for a while.
func (f *file) rested() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.resting = false
	if f.users > 0 || f.state != shared {
		return
	}
	if left := rest - time.Since(f.idle); left > 0 {
		f.resting = true
		time.AfterFunc(left, f.rested)
		return
	}
	f.releaseLocked()
}

// releaseLocked gives both files back.
func (f *file) releaseLocked() {
	_, _ = lockRange(f.big, unix.F_UNLCK, 0, 0)
	_, _ = lockRange(f.guard, unix.F_UNLCK, 0, 1)
	f.state = free
	f.gate.releasedLocked()
	f.changedLocked()
}

// enterWhole locks the file exclusively, when no lock of this process rests on it.
func (f *file) enterWhole(ctx context.Context) error {
	began := time.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.wants++
	defer func() { f.wants--; f.changedLocked() }()
	for f.state != free {
		if f.users == 0 && f.state == shared {
			f.releaseLocked()
			break
		}
		if err := f.sleepLocked(ctx, 0); err != nil {
			return &WaitError{f.path, 0, time.Since(began), err}
		}
	}
	f.state = taking
	f.mu.Unlock()
	err := f.lock(ctx, unix.F_WRLCK, began)
	f.mu.Lock()
	if f.state = whole; err != nil {
		f.state = free
	}
	return err
}

func (f *file) leaveWhole() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.releaseLocked()
}

// join notes that a store of a table is open on the file, which in one process is one table's.
func (f *file) join(id uint64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stores > 0 && f.table != id {
		return errors.Join(ErrOtherTable, fmt.Errorf("compat: this process has %s open with another table", f.path))
	}
	f.stores++
	f.table = id
	return nil
}

func (f *file) part() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stores--
}
