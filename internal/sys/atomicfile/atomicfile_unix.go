//go:build unix

package atomicfile

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"github.com/godsm/godsm/internal/sys/folder"
)

func open(dir *folder.Folder, name string) (*os.File, error) {
	return dir.Open(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
}

// trusted refuses a file that another user than this process's, root or the directory's owner has written
// or, by its mode and its directory's, can write.
func trusted(in *folder.Folder, path string, info fs.FileInfo) error {
	dir, err := in.Stat()
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

func replace(dir *folder.Folder, from, to string) error { return dir.Rename(from, to) }
