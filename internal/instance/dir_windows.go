package instance

import (
	"io/fs"
	"os"

	"golang.org/x/sys/windows"
)

// checkOwner leaves rights to the directory's access list, which a profile directory has narrow enough.
func checkOwner(string, fs.FileInfo) error { return nil }

// tryLock locks a byte far behind what the file `lock` holds: a directory can't be locked here.
func (d *Dir) tryLock() (unlock func(), held bool, err error) {
	p, err := windows.UTF16PtrFromString(d.file("lock"))
	if err != nil {
		return nil, false, err
	}
	h, err := windows.CreateFile(p, windows.GENERIC_READ|windows.GENERIC_WRITE,
		windows.FILE_SHARE_READ|windows.FILE_SHARE_WRITE|windows.FILE_SHARE_DELETE, nil, windows.OPEN_ALWAYS,
		windows.FILE_ATTRIBUTE_NORMAL, 0)
	if err != nil {
		return nil, false, &fs.PathError{Op: "open", Path: d.file("lock"), Err: err}
	}
	err = windows.LockFileEx(h, windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0,
		&windows.Overlapped{Offset: 1 << 30})
	switch err {
	case nil:
		return func() { windows.CloseHandle(h) }, false, nil
	case windows.ERROR_LOCK_VIOLATION, windows.ERROR_IO_PENDING:
		windows.CloseHandle(h)
		return nil, true, nil
	default:
		windows.CloseHandle(h)
		return nil, false, &fs.PathError{Op: "lock", Path: d.file("lock"), Err: err}
	}
}

// Remove removes the directory, whose lock the caller holds, and with it the lock: first the lock, since its file's
// name may stay as long as the file is open. A process that takes it in between finds that no session lives here, and
// removes the directory too.
func (d *Dir) Remove(unlock func()) error {
	unlock()
	return os.RemoveAll(d.Path)
}
