package parts

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/godsm/godsm/bench/side"
	"go.podman.io/storage/pkg/lockfile"
	"golang.org/x/sys/unix"
)

func init() { side.Register("lockfile/pairs", filePairs) }

// memory is where files are in memory; another dir is taken if it is missing.
const memory = "/dev/shm"

// filePairs measures a rival by itself. Arguments: SIDE DIR.
func filePairs(a side.Args) (*side.Work, error) {
	dir := a.List[1]
	if _, err := os.Stat(memory); err == nil {
		dir = memory
	}
	dir, err := os.MkdirTemp(dir, side.Prefix()+"locks")
	if err != nil {
		return nil, err
	}
	loop, done, err := openFileLock(a.List[0], dir)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return &side.Work{Run: cpuLoop(loop), Close: func() error { return errors.Join(done(), os.RemoveAll(dir)) }}, nil
}

// openFileLock makes a loop of locks and unlocks of a file in dir.
func openFileLock(name, dir string) (loop func(n int) error, done func() error, err error) {
	path := filepath.Join(dir, "lock")
	done = func() error { return nil }
	var pair func() error
	switch name {
	case lockFile:
		l, err := lockfile.GetLockFile(path)
		if err != nil {
			return nil, nil, err
		}
		pair = func() error {
			l.Lock()
			l.Unlock() //lint:ignore SA2001 the pair is what is measured
			return nil
		}
	case "a file for each name":
		k := 0
		pair = func() error {
			k++
			path := filepath.Join(dir, digest(k))
			fd, err := unix.Open(path, unix.O_CREAT|unix.O_EXCL|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
			if err != nil {
				return err
			}
			return errors.Join(unix.Flock(fd, unix.LOCK_EX), unix.Unlink(path), unix.Close(fd))
		}
	default:
		fd, err := unix.Open(path, unix.O_CREAT|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
		if err != nil {
			return nil, nil, err
		}
		done = func() error { return unix.Close(fd) }
		switch name {
		case "flock":
			pair = func() error {
				if err := ignoringEINTR(func() error { return unix.Flock(fd, unix.LOCK_EX) }); err != nil {
					return err
				}
				return unix.Flock(fd, unix.LOCK_UN)
			}
		case "OFD":
			set := func(kind int16) error {
				return ignoringEINTR(func() error {
					return unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLKW, &unix.Flock_t{Type: kind})
				})
			}
			pair = func() error {
				if err := set(unix.F_WRLCK); err != nil {
					return err
				}
				return set(unix.F_UNLCK)
			}
		default:
			return nil, nil, errors.Join(fmt.Errorf("no lock is called %q", name), done())
		}
	}
	return func(n int) error {
		for range n {
			if err := pair(); err != nil {
				return err
			}
		}
		return nil
	}, done, nil
}

func ignoringEINTR(f func() error) error {
	for {
		if err := f(); err != unix.EINTR {
			return err
		}
	}
}
