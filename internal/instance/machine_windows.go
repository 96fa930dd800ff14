package instance

import (
	"path/filepath"

	"golang.org/x/sys/windows"
)

// bootID returns nothing: no object outlives its processes here.
func bootID() (string, error) { return "", nil }

// networkFileSystem names the kind if path is on one; empty if it is not.
func networkFileSystem(path string) string {
	p, err := windows.UTF16PtrFromString(filepath.VolumeName(path) + `\`)
	if err == nil && windows.GetDriveType(p) == windows.DRIVE_REMOTE {
		return "remote drive"
	}
	return ""
}
