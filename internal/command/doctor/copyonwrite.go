package doctor

import (
	"fmt"
	"strings"

	"github.com/godsm/godsm/internal/settings"
)

// copyOnWrite looks for file systems that write each block to a new place, for which there may be no room when a store
// comes: nothing that is reserved holds there.
func (m Machine) copyOnWrite(v settings.Values) Finding {
	const check = "mmap_directory"
	if !m.exists("proc/mounts") {
		return unknown(check, "proc/mounts")
	}
	kind := m.fileSystemOf(v.MmapDirectory)
	means := map[string]string{
		"btrfs": "files are reserved and written in place, but not after a snapshot: on a full disk a store into one faults then",
		"zfs":   "nothing can be reserved there: on a full disk a store faults",
	}
	means["bcachefs"] = means["zfs"]
	if means[kind] == "" {
		return Finding{check, OK, fmt.Sprintf("%s is on %s", v.MmapDirectory, kind), "", ""}
	}
	return softened(Finding{check, Bites, fmt.Sprintf("%s is on %s, which copies what is written", v.MmapDirectory, kind),
		means[kind], "set mmap_directory to one on tmpfs, ext4 or xfs"}, v.DynamicSharedMemoryType == "mmap",
		"not used by type "+v.DynamicSharedMemoryType+"; ")
}

// fileSystemOf returns the kind of file system that a path is on.
func (m Machine) fileSystemOf(path string) (kind string) {
	best := 0
	for line := range strings.Lines(m.text("proc/mounts")) {
		f := strings.Fields(line)
		if len(f) < 4 || len(f[1]) < best { // the last one hides the others
			continue
		}
		if f[1] == "/" || f[1] == path || strings.HasPrefix(path, f[1]+"/") {
			best, kind = len(f[1]), f[2]
		}
	}
	return kind
}
