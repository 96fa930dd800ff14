package instance

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// bootID tells one life of the machine from another. Shared memory without a file does not outlive it.
func bootID() (string, error) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w; is there no /proc here? mount it (mount -t proc proc /proc)", err)
	}
	return string(bytes.TrimSpace(b)), err
}

// networkFileSystem names the kind if path is on one; empty if it is not.
func networkFileSystem(path string) string {
	var st unix.Statfs_t
	if unix.Statfs(path, &st) != nil {
		return ""
	}
	return map[uint32]string{
		unix.NFS_SUPER_MAGIC:  "nfs",
		unix.SMB_SUPER_MAGIC:  "smb",
		unix.CIFS_SUPER_MAGIC: "cifs",
		unix.SMB2_SUPER_MAGIC: "smb2",
		unix.CODA_SUPER_MAGIC: "coda",
		unix.AFS_SUPER_MAGIC:  "afs",
		unix.AFS_FS_MAGIC:     "afs",
		unix.V9FS_MAGIC:       "9p",
		unix.CEPH_SUPER_MAGIC: "ceph",
		0x0bd00bd0:            "lustre",
		0x47504653:            "gpfs",
		0x19830326:            "beegfs",
	}[uint32(st.Type)]
}
