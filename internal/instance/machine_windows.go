package instance

import (
	"path/filepath"

	"golang.org/x/sys/windows"
)

// bootID is not needed here: no object outlives its processes.
func bootID() (string, error) { return "", nil }

// networkFileSystem names the kind if path is on one; empty if it is not.
func networkFileSystem(path string) string {
	p, err := windows.UTF16PtrFromString(filepath.VolumeName(path) + `\`)
	if err == nil && windows.GetDriveType(p) == windows.DRIVE_REMOTE {
		return "remote drive"
	}
	return ""
}
