// Package instance is what the front door and the supervisor both stand on: an instance's directory and its
// small files, the way from there to a mapped control segment and a row in it, and how an instance ends. It
// joins the rules of package control to an operating system: a backend, the members file, a directory.
//
// The directory holds
//
//	id                   the instance's uuid, a label for people, and which directory it was written in
//	lives                every life that may still have memory in the system (roster), written whole and renamed
//	instance             the present life (Record), written whole and renamed
//	members.LIFE         one lockable byte for each process row
//	left.LIFE            the last supervisor has handed the present life over to the next (Handover)
//	supervisor           names the holder of the directory's lock, for people
//	dsm.conf             optional settings
//	mmap/                files of the backend mmap, unless mmap_directory says otherwise
//
// A process that holds the directory's lock (an flock on it; on Windows a lock on a file in it) may change the instance
// as a whole: start it, clean it, remove it. Sessions never take it, except the last to leave a private instance.
//
// A life is one control segment with all that it lists, from the start that made it until its end. It is drawn, 128
// random bits, and its objects bear it. So a directory may be copied, moved or mounted anew: what is in the system is
// judged by the processes that use it (Verdict), never by where a directory lies.
package instance

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/sys/atomicfile"
	"github.com/godsm/godsm/internal/sys/folder"
)

// Dir is an instance's directory that has been looked at: ours, writable by no other user, on a local file system. It
// is held open: files are found in it wherever its path leads to later. Close lets go of it.
type Dir struct {
	Path string // absolute
	*folder.Folder
}

// DefaultDir returns where an instance lives if the program does not say: $DSM_DIR, else dsm in the user's state
// directory.
func DefaultDir() (string, error) {
	if dir := os.Getenv("DSM_DIR"); dir != "" {
		return dir, nil
	}
	state, err := stateHome()
	return filepath.Join(state, "dsm"), err
}

func stateHome() (string, error) {
	if runtime.GOOS == "windows" {
		return os.UserCacheDir() // %LOCALAPPDATA%
	}
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return dir, nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("no directory for the instance: set DSM_DIR (%w)", err)
	}
	return filepath.Join(home, ".local", "state"), nil
}

// OpenDir looks at an existing directory. A missing one is ErrNoInstance.
func OpenDir(path string) (*Dir, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, NoInstance(path, "the directory does not exist")
	}
	if err != nil {
		return nil, errkind.Classify(err)
	}
	if !info.IsDir() {
		return nil, errkind.As(errkind.NoInstance, fmt.Errorf("%s is not a directory", path))
	}
	if err := checkOwner(path, info); err != nil {
		return nil, err
	}
	if kind := networkFileSystem(path); kind != "" {
		return nil, errkind.As(errkind.Unsupported, fmt.Errorf(
			"%s is on a network file system (%s), where file locks can't tell a living process from a dead one: choose a "+
				"local directory (--dir, DSM_DIR)", path, kind))
	}
	d := &Dir{Path: path}
	if d.Folder, err = folder.Open(path); err != nil {
		return nil, errkind.Classify(err)
	}
	if info, err = d.Stat(); err == nil { // what is held now may be another one than was looked at
		err = checkOwner(path, info)
	}
	if err != nil {
		d.Close()
		return nil, errkind.Classify(err)
	}
	return d, nil
}

// MakeDir makes the directory, mode 0700, if it is missing, and opens it as OpenDir does.
func MakeDir(path string) (*Dir, error) {
	if err := folder.MakeAll(path); err != nil {
		if info, e := os.Stat(path); e == nil && !info.IsDir() {
			err = fmt.Errorf("%s is not a directory: %w", path, err)
		}
		return nil, errkind.Classify(err)
	}
	return OpenDir(path)
}

// checkMmapDirectory refuses a place for files where others could remove or replace them, and our
// own under a link. A missing one will be made.
func (d *Dir) checkMmapDirectory(path string) error {
	look := os.Stat
	if path == d.file("mmap") {
		look = os.Lstat
	}
	info, err := look(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, err := os.Lstat(path); err == nil {
			return errkind.As(errkind.Permission,
				fmt.Errorf("%s is a symbolic link that leads nowhere: remove it", path))
		}
		return nil
	case err != nil:
		return errkind.Classify(err)
	case info.Mode()&fs.ModeSymlink != 0:
		return errkind.As(errkind.Permission,
			fmt.Errorf("%s is a symbolic link: remove it, and set mmap_directory to where the files shall be", path))
	case !info.IsDir():
		return errkind.As(errkind.Permission,
			fmt.Errorf("%s is not a directory: remove it, or set mmap_directory to one", path))
	case runtime.GOOS != "windows" && info.Mode().Perm()&0o022 != 0 && info.Mode()&fs.ModeSticky == 0:
		return errkind.As(errkind.Permission,
			fmt.Errorf("%s can be written by others (mode %#o), who could remove our files: chmod go-w %s",
				path, info.Mode().Perm(), path))
	}
	return nil
}

func (d *Dir) file(name string) string { return filepath.Join(d.Path, name) }

// Conf returns the path of the settings file.
func (d *Dir) Conf() string { return d.file("dsm.conf") }

// Lock takes the directory for this process, or says which one has it: ErrInUse. A process that was killed, or one that
// looks whether the lock is held, may have it for some milliseconds.
func (d *Dir) Lock(who Holder) (unlock func(), err error) {
	for end := time.Now().Add(200 * time.Millisecond); ; time.Sleep(5 * time.Millisecond) {
		unlock, held, err := d.tryLock()
		if err != nil {
			return nil, errkind.Classify(err)
		}
		if !held {
			failpoint.Hit("instance/lock/held")
			_ = atomicfile.WriteIn(d.Folder, "supervisor", who) // for people
			return func() {
				_ = d.Folder.Remove("supervisor")
				failpoint.Hit("instance/unlock/unnamed")
				unlock()
			}, nil
		}
		if time.Now().After(end) {
			return nil, errkind.As(errkind.InUse,
				fmt.Errorf("the instance in %s has a supervisor already: %s; stop that one first, "+
					"or choose another directory", d.Path, d.holder()))
		}
	}
}
