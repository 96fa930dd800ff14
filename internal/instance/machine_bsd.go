//go:build darwin || freebsd

package instance

import (
	"encoding/hex"

	"golang.org/x/sys/unix"
)

// bootID tells one life of the machine from another. Shared memory without a file does not outlive it.
func bootID() (string, error) {
	if id, err := unix.Sysctl("kern.bootsessionuuid"); err == nil {
		return id, nil
	}
	b, err := unix.SysctlRaw("kern.boottime")
	return hex.EncodeToString(b), err
}

// networkFileSystem names the kind if path is on one; empty if it is not.
func networkFileSystem(path string) string {
	var st unix.Statfs_t
	if unix.Statfs(path, &st) != nil || st.Flags&unix.MNT_LOCAL != 0 {
		return ""
	}
	return unix.ByteSliceToString(st.Fstypename[:])
}
