//go:build !unix

package folder

import (
	"errors"
	"io/fs"
	"os"
)

var errNoDirectory = errors.New("not a directory")

type handle struct{}

func (handle) open(path string) error {
	info, err := os.Stat(path)
	if err == nil && !info.IsDir() {
		err = errNoDirectory
	}
	return err
}

func (h handle) openIn(f *Folder, name string) error { return h.open(f.Join(name)) }

func (f *Folder) mkdir(name string) error { return cause(os.Mkdir(f.Join(name), 0o700)) }

func (handle) close() {}

func (f *Folder) identity() (Identity, error) { return Identify(f.path) }

// Stat returns what the directory itself is.
func (f *Folder) Stat() (fs.FileInfo, error) { return os.Stat(f.path) }

func (f *Folder) openFile(name string, flags int, mode fs.FileMode) (*os.File, error) {
	file, err := os.OpenFile(f.Join(name), flags, mode)
	return file, cause(err)
}

func (f *Folder) remove(name string) error { return cause(os.Remove(f.Join(name))) }

func (f *Folder) rename(from, to string) error {
	if err := os.Rename(f.Join(from), f.Join(to)); err != nil {
		return err.(*os.LinkError).Err
	}
	return nil
}

func (f *Folder) lstat(name string) (Info, error) {
	info, err := os.Lstat(f.Join(name))
	if err != nil {
		return Info{}, cause(err)
	}
	return Info{Type: info.Mode().Type()}, nil
}

// Sync has nothing to do: the system has no way to do it.
func (f *Folder) Sync() error { return nil }

func cause(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}
