package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/windows"
)

// patience is how long somebody else is waited for who has a file open, as virus scanners do.
const patience = 2 * time.Second

// open opens a file in a way that lets it be replaced meanwhile; os.Open does not.
func open(path string) (f *os.File, err error) {
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
func replace(from, to string) error {
	dir, err := os.OpenRoot(filepath.Dir(to))
	if err != nil {
		return err
	}
	defer dir.Close()
	return patiently(func() error { return dir.Rename(filepath.Base(from), filepath.Base(to)) })
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

func trusted(string, fs.FileInfo) error { return nil }

// A directory can't be synced here; the system orders renames itself.
func syncDir(string) error { return nil }
