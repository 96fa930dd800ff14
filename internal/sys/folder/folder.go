// Package folder holds a directory open, so that a program goes on with the directory that it once looked at, whatever
// its path leads to later: a directory may be moved away, and another made in its place, while a process works in it.
// Names are those of entries of the directory itself; a symbolic link under one of them is never followed.
//
// Where the system has no descriptors for directories, the path stands for the directory.
package folder

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// Identity is what tells one file or directory from all others of a machine.
type Identity struct{ Dev, Ino uint64 }

// Folder is a directory that is held open. Its methods are safe for concurrent use, until Close.
type Folder struct {
	path string
	id   Identity
	handle
}

// Open opens an existing directory. Close it; one that is forgotten is closed by the garbage collector.
func Open(path string) (*Folder, error) {
	f := &Folder{path: path}
	if err := f.open(path); err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	runtime.AddCleanup(f, func(h handle) { h.close() }, f.handle)
	var err error
	if f.id, err = f.identity(); err != nil {
		f.Close()
		return nil, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	return f, nil
}

// Close lets go of the directory; twice is harmless.
func (f *Folder) Close() { f.close() }

// Path returns where the directory was when it was opened.
func (f *Folder) Path() string { return f.path }

// Identity returns the directory's own.
func (f *Folder) Identity() Identity { return f.id }

// Join returns the path of an entry, for messages and for people.
func (f *Folder) Join(name string) string { return filepath.Join(f.path, name) }

// Moved reports whether the path leads elsewhere now, or nowhere. An error says that the system refused to look.
func (f *Folder) Moved() (bool, error) {
	id, err := Identify(f.path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errNoDirectory) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	held, err := f.identity() // as of now: some file systems give a directory another number when they copy it up
	return err == nil && id != held, err
}

// Names lists the entries.
func (f *Folder) Names() ([]string, error) {
	list, err := f.List()
	names := make([]string, len(list))
	for i, e := range list {
		names[i] = e.Name()
	}
	return names, err
}

// List lists the entries with their types.
func (f *Folder) List() ([]fs.DirEntry, error) {
	d, err := f.Open(".", os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.ReadDir(-1)
}

// Open opens an entry as os.OpenFile does, but never follows a symbolic link. What it makes has the mode, whatever the
// process's umask is.
func (f *Folder) Open(name string, flags int, mode fs.FileMode) (*os.File, error) {
	file, err := f.openFile(name, flags, mode)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: f.Join(name), Err: err}
	}
	if flags&os.O_EXCL != 0 && runtime.GOOS != "windows" {
		_ = file.Chmod(mode)
	}
	return file, nil
}

// Remove removes an entry that is no directory. A missing one is fs.ErrNotExist.
func (f *Folder) Remove(name string) error {
	if err := f.remove(name); err != nil {
		return &fs.PathError{Op: "remove", Path: f.Join(name), Err: err}
	}
	return nil
}

// Rename gives an entry another name in the directory, in the place of what has that name.
func (f *Folder) Rename(from, to string) error {
	if err := f.rename(from, to); err != nil {
		return &os.LinkError{Op: "rename", Old: f.Join(from), New: f.Join(to), Err: err}
	}
	return nil
}

// Lstat describes an entry, a link itself.
func (f *Folder) Lstat(name string) (Info, error) {
	info, err := f.lstat(name)
	if err != nil {
		return Info{}, &fs.PathError{Op: "lstat", Path: f.Join(name), Err: err}
	}
	return info, nil
}

// Info is what Lstat says.
type Info struct {
	Identity
	Type fs.FileMode // type bits
}

// Sub opens a subdirectory, which must not be a link.
func (f *Folder) Sub(name string) (*Folder, error) {
	sub := &Folder{path: f.Join(name)}
	err := sub.openIn(f, name)
	if err == nil {
		runtime.AddCleanup(sub, func(h handle) { h.close() }, sub.handle)
		sub.id, err = sub.identity()
	}
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: sub.path, Err: err}
	}
	return sub, nil
}

// MakeSub makes a subdirectory with mode 0700, whatever the umask is, unless it is there.
func (f *Folder) MakeSub(name string) error {
	if err := f.mkdir(name); err != nil && !errors.Is(err, fs.ErrExist) {
		return &fs.PathError{Op: "mkdir", Path: f.Join(name), Err: err}
	}
	return nil
}

// MakeAll makes a directory with mode 0700, and those above it that are missing, whatever the process's umask is.
func MakeAll(path string) error {
	info, err := os.Stat(path)
	switch {
	case err == nil && info.IsDir():
		return nil
	case err == nil:
		return &fs.PathError{Op: "mkdir", Path: path, Err: errNoDirectory}
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if parent := filepath.Dir(path); parent != path {
		if err := MakeAll(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(path, 0o700); err != nil {
		if errors.Is(err, fs.ErrExist) {
			if info, e := os.Stat(path); e == nil && info.IsDir() {
				return nil // made by another process meanwhile
			}
		}
		return err
	}
	return os.Chmod(path, 0o700)
}
