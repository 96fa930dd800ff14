// Package objectlist lists, for tests and demonstrations, the objects that the system has of an instance, without the
// library (by a directory listing, the kernel's tables) and finds what bears one of an instance's lives, and nothing
// else. Other instances' objects live on the same machine and are not looked at.
package objectlist

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	"github.com/godsm/godsm/dsmimpl"
	"github.com/godsm/godsm/internal/sys/atomicfile"
	"github.com/google/uuid"
)

// KnownLives returns those that an instance's directory knows of: the listed ones and those that are past.
func KnownLives(dir string) (list []uuid.UUID) {
	var roster struct {
		Lives []struct{ Life uuid.UUID }
		Past  []uuid.UUID
	}
	if atomicfile.Read(filepath.Join(dir, "lives"), &roster) != nil {
		var present struct{ Life uuid.UUID }
		if atomicfile.Read(filepath.Join(dir, "instance"), &present) == nil {
			list = append(list, present.Life)
		}
	}
	for _, r := range roster.Lives {
		list = append(list, r.Life)
	}
	return append(list, roster.Past...)
}

// Objects lists every shared-memory object of the lives: files on the shm mount and in dirs, rows of
// the kernel's SysV table. Elsewhere than on Linux only dirs can be seen.
func Objects(lives []uuid.UUID, dirs ...string) (found []string) {
	if runtime.GOOS == "linux" {
		dirs = append([]string{"/dev/shm"}, dirs...)
	}
	for _, life := range lives {
		prefix := dsmimpl.LifeText(life)
		found = append(found, objectsNamed(prefix)...)
		for _, dir := range dirs {
			paths, _ := filepath.Glob(filepath.Join(dir, prefix+"*"))
			found = append(found, paths...)
		}
	}
	table, _ := os.ReadFile("/proc/sysvipc/shm")
	for lines := bufio.NewScanner(bytes.NewReader(table)); lines.Scan(); {
		var key, shmid, perms, size int64
		if _, err := fmt.Sscan(lines.Text(), &key, &shmid, &perms, &size); err != nil {
			continue
		}
		page := int64(os.Getpagesize())
		for _, life := range lives {
			short := dsmimpl.ShortID(life)
			if uint64(uint32(key)>>16) == short>>12&0xffff && (size-1-int64(short&0xfff))%page == 0 {
				found = append(found, fmt.Sprintf("sysv key 0x%08x shmid %d", uint32(key), shmid))
			}
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}
