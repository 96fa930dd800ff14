// Package leaktest is the independent eye of tests and demonstrations: it looks at the system with its own hands (a
// directory listing, the kernel's tables) and counts what bears one instance's id, and nothing else. Other
// instances' objects live on the same machine and are nobody's business here.
package leaktest

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

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
	var found []string
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

// None makes the test fail at its end if an object of the instance is left then.
func None(t testing.TB, id uuid.UUID, dirs ...string) {
	t.Helper()
	t.Cleanup(func() {
		if left := Objects(id, dirs...); len(left) > 0 {
			t.Errorf("left behind: %s", strings.Join(left, ", "))
		}
	})
}

// Usage is what this process holds of the kernel.
type Usage struct{ Descriptors, Mappings int }

// Now counts this process's open descriptors and mapped shared-memory objects; zeros where the system doesn't tell.
// Pidfds don't count: a supervisor in this process opens and closes them in its own time.
func Now() Usage {
	fds, _ := filepath.Glob("/proc/self/fd/*")
	maps, _ := os.ReadFile("/proc/self/maps")
	var u Usage
	for _, fd := range fds {
		if to, err := os.Readlink(fd); err == nil && to != "anon_inode:[pidfd]" {
			u.Descriptors++
		}
	}
	for line := range strings.Lines(string(maps)) {
		if strings.Contains(line, "rw-s") || strings.Contains(line, "r--s") {
			u.Mappings++
		}
	}
	return u
}
