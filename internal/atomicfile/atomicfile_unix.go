//go:build unix

package atomicfile

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

func open(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
}

// trusted refuses a file that somebody else than we, root or the directory's owner has written
// or, by its mode and its directory's, can write.
func trusted(path string, info fs.FileInfo) error {
	dir, err := os.Stat(filepath.Dir(path))
	if err != nil {
		return err
	}
	owner := info.Sys().(*syscall.Stat_t).Uid
	if owner != 0 && int(owner) != os.Geteuid() && owner != dir.Sys().(*syscall.Stat_t).Uid {
		return fmt.Errorf("%s belongs to user %d: chown it, or remove it: %w", path, owner, ErrGarbage)
	}
	if info.Mode().Perm()&(dir.Mode().Perm()&0o011<<1) != 0 {
		return fmt.Errorf("%s can be written by others (mode %#o): chmod go-w %s: %w",
			path, info.Mode().Perm(), path, ErrGarbage)
	}
	return nil
}

// syncDir makes a rename last over a crash of the machine.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

func replace(from, to string) error { return os.Rename(from, to) }
