package liveness

import (
	"io/fs"
	"os"
	"sync"

	"github.com/godsm/godsm/internal/sys/folder"
	"golang.org/x/sys/windows"
)

// Roll is an open members file: byte n is the witness of row n, as a LockFileEx lock, which
// belongs to the handle it was taken through. Methods are safe for concurrent use and don't block.
type Roll struct {
	mu        sync.RWMutex // Close against the others
	hold, ask windows.Handle
	id        Identity
}

// CreateIn is Create in a directory.
func CreateIn(dir *folder.Folder, name string) error {
	path := at(dir, name)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

// OpenIn is Open in a directory.
func OpenIn(dir *folder.Folder, name string) (*Roll, error) {
	path := at(dir, name)
	p, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	r := &Roll{hold: windows.InvalidHandle, ask: windows.InvalidHandle}
	for _, h := range []*windows.Handle{&r.hold, &r.ask} {
		*h, err = windows.CreateFile(p, windows.GENERIC_READ|windows.GENERIC_WRITE,
			windows.FILE_SHARE_READ|windows.FILE_SHARE_WRITE|windows.FILE_SHARE_DELETE, nil, windows.OPEN_EXISTING,
			windows.FILE_ATTRIBUTE_NORMAL, 0)
		if err != nil {
			r.Close()
			return nil, &fs.PathError{Op: "open", Path: path, Err: err}
		}
	}
	var info windows.ByHandleFileInformation
	if err := windows.GetFileInformationByHandle(r.hold, &info); err != nil {
		r.Close()
		return nil, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	r.id = Identity{Dev: uint64(info.VolumeSerialNumber),
		Ino: uint64(info.FileIndexHigh)<<32 | uint64(info.FileIndexLow)}
	return r, nil
}

// Identity returns that of the file.
func (r *Roll) Identity() Identity { return r.id }

// Take locks the row's byte; false if another process has it.
func (r *Roll) Take(row int) (bool, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	err := lock(r.hold, row, windows.LOCKFILE_EXCLUSIVE_LOCK)
	if err == windows.ERROR_LOCK_VIOLATION || err == windows.ERROR_IO_PENDING {
		return false, nil
	}
	return err == nil, err
}

// Drop gives the row's byte back.
func (r *Roll) Drop(row int) error {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return unlock(r.hold, row)
}

// Held reports whether any process, this Roll too, holds the row's byte. Where that can't be told it is true. The
// question itself is a shared lock for a moment, which may make a Take at that moment fail.
func (r *Roll) Held(row int) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if lock(r.ask, row, 0) != nil {
		return true
	}
	return unlock(r.ask, row) != nil
}

// Close ends the Roll and gives back what it holds.
func (r *Roll) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, h := range []*windows.Handle{&r.hold, &r.ask} {
		if *h != windows.InvalidHandle {
			_ = windows.CloseHandle(*h)
		}
		*h = windows.InvalidHandle
	}
}

func lock(h windows.Handle, row int, flags uint32) error {
	return windows.LockFileEx(h, flags|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0,
		&windows.Overlapped{Offset: uint32(row)})
}

func unlock(h windows.Handle, row int) error {
	return windows.UnlockFileEx(h, 0, 1, 0, &windows.Overlapped{Offset: uint32(row)})
}
