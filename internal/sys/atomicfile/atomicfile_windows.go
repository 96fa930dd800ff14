package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/godsm/godsm/internal/sys/folder"
	"golang.org/x/sys/windows"
)

// patience is how long another process is waited for that has a file open, as virus scanners do.
const patience = 2 * time.Second

// open opens a file in a way that lets it be replaced meanwhile; os.Open does not.
func open(dir *folder.Folder, name string) (f *os.File, err error) {
	path := dir.Join(name)
	err = patiently(func() error {
		f, err = os.OpenInRoot(filepath.Dir(path), filepath.Base(path))
		return err
	})
	if err != nil {
		err = fmt.Errorf("%s: %w", path, err)
	}
	return f, err
}

// replace renames over a file that others may have open: a root's Rename can do that where the file
// system can, os.Rename nowhere.
func replace(in *folder.Folder, from, to string) error {
	dir, err := os.OpenRoot(in.Path())
	if err != nil {
		return err
	}
	defer dir.Close()
	return patiently(func() error { return dir.Rename(from, to) })
}

// patiently tries again what the system refuses since a file is open.
func patiently(try func() error) (err error) {
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		err = try()
		open := errors.Is(err, windows.ERROR_ACCESS_DENIED) || errors.Is(err, windows.ERROR_SHARING_VIOLATION)
		if !open || time.Now().After(end) {
			return err
		}
	}
}

func trusted(*folder.Folder, string, fs.FileInfo) error { return nil }
