package folder

import (
	"io/fs"

	"golang.org/x/sys/windows"
)

// Identify returns the identity of the directory that a path leads to.
func Identify(path string) (id Identity, err error) {
	p, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return id, err
	}
	h, err := windows.CreateFile(p, 0, windows.FILE_SHARE_READ|windows.FILE_SHARE_WRITE|windows.FILE_SHARE_DELETE, nil,
		windows.OPEN_EXISTING, windows.FILE_FLAG_BACKUP_SEMANTICS, 0)
	if err != nil {
		return id, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	defer windows.CloseHandle(h)
	var info windows.ByHandleFileInformation
	if err := windows.GetFileInformationByHandle(h, &info); err != nil {
		return id, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	return Identity{Dev: uint64(info.VolumeSerialNumber),
		Ino: uint64(info.FileIndexHigh)<<32 | uint64(info.FileIndexLow)}, nil
}
