// Package eye is the independent eye of tests and demonstrations: it looks at the system with its own hands (a
// directory listing, the kernel's tables) and finds what bears one instance's id, and nothing else. Other
// instances' objects live on the same machine and are nobody's business here.
package eye

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	"github.com/godsm/godsm/dsmimpl"
	"github.com/google/uuid"
)

// Objects lists every shared-memory object of the instance: files on the shm mount and in dirs, rows of
// the kernel's SysV table. Elsewhere than on Linux only dirs can be seen.
func Objects(id uuid.UUID, dirs ...string) []string {
	prefix := dsmimpl.Object{Instance: id}.Name()[:12]
	if runtime.GOOS == "linux" {
		dirs = append([]string{"/dev/shm"}, dirs...)
	}
	found := named(prefix)
	for _, dir := range dirs {
		paths, _ := filepath.Glob(filepath.Join(dir, prefix+"*"))
		found = append(found, paths...)
	}
	table, _ := os.ReadFile("/proc/sysvipc/shm")
	for lines := bufio.NewScanner(bytes.NewReader(table)); lines.Scan(); {
		var key, shmid, perms, size int64
		if _, err := fmt.Sscan(lines.Text(), &key, &shmid, &perms, &size); err != nil {
			continue
		}
		short, page := dsmimpl.ShortID(id), int64(os.Getpagesize())
		if uint64(uint32(key)>>16) == short>>12&0xffff && (size-1-int64(short&0xfff))%page == 0 {
			found = append(found, fmt.Sprintf("sysv key 0x%08x shmid %d", uint32(key), shmid))
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}
