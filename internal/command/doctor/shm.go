package doctor

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/godsm/godsm/internal/bytesize"
	"github.com/godsm/godsm/internal/settings"
)

// little is what a small program should still find room for.
const little = 64 << 20

// shmMount checks the mount that the backend posix makes its files on.
func (m Machine) shmMount(v settings.Values) Finding {
	const check, cure = "shm_mount",
		"mount -o remount,size=1g /dev/shm (docker run --shm-size=1g; a memory-backed emptyDir in Kubernetes), or " +
			"dynamic_shared_memory_type = mmap"
	used := func(f Finding) Finding {
		return softened(f, v.DynamicSharedMemoryType == "posix", "not used by type "+v.DynamicSharedMemoryType+"; ")
	}
	kind, options := m.mountOf("/dev/shm")
	size, free := m.Usage("/dev/shm")
	found := fmt.Sprintf("/dev/shm: %s, %s, of which %s are free", kind, bytesize.Format(size), bytesize.Format(free))
	info, err := fs.Stat(m.Root, "dev/shm")
	switch {
	case err != nil:
		return used(Finding{check, Bites, "there is no /dev/shm",
			"segments of type posix can't be made",
			"mkdir /dev/shm && mount -t tmpfs -o mode=1777 tmpfs /dev/shm"})
	case slices.Contains(options, "ro"):
		return used(Finding{check, Bites, found + ", read-only",
			"segments of type posix can't be made",
			"mount -o remount,rw /dev/shm"})
	case m.UID != 0 && info.Mode().Perm()&0o002 == 0:
		return used(Finding{check, Bites, fmt.Sprintf("%s, mode %#o", found, info.Mode().Perm()),
			"this user can't make segments of type posix",
			"chmod 1777 /dev/shm"})
	case info.Mode().Perm()&0o002 != 0 && info.Mode()&fs.ModeSticky == 0:
		return used(Finding{check, Bites, found + ", without the sticky bit",
			"any user can remove our segments",
			"chmod 1777 /dev/shm"})
	case kind != "tmpfs":
		return Finding{check, Note, found,
			"it is no file system in memory: segments are written to a disk, or are limited as " +
				"the directory's file system is",
			"mount -t tmpfs -o mode=1777 tmpfs /dev/shm"}
	case size <= little:
		return used(Finding{check, Bites, found,
			"it is as small as containers get it by default; what does not fit is ErrNoSpace from Create",
			cure})
	case free < little:
		return used(Finding{check, Bites, found,
			"it is nearly full; what does not fit is ErrNoSpace from Create",
			"see what fills it: ls -lS /dev/shm; or " + cure})
	case v.MinDynamicSharedMemory > size:
		return used(Finding{check, Bites, found,
			"min_dynamic_shared_memory is more: a start is refused",
			cure + "; or lower min_dynamic_shared_memory"})
	case v.MaxMemory > free:
		return used(Finding{check, Note, found,
			"max_memory is more: segments will be ErrNoSpace before the limit is reached",
			cure})
	}
	return Finding{check, OK, found, "", ""}
}

// mountOf returns the type and options of what is mounted at a path; its parent's if nothing is.
func (m Machine) mountOf(path string) (kind string, options []string) {
	kind, best := "no mount of its own", 1
	for line := range strings.Lines(m.text("proc/mounts")) {
		f := strings.Fields(line)
		// the last one hides the others
		if len(f) >= 4 && len(f[1]) >= best && (f[1] == path || strings.HasPrefix(path, f[1]+"/")) {
			best, kind, options = len(f[1]), f[2], strings.Split(f[3], ",")
		}
	}
	return kind, options
}

// protectedRegular checks the protection against files that others plant on a mount where all may write.
func (m Machine) protectedRegular() Finding {
	const check = "protected_regular"
	n, ok := m.number("proc/sys/fs/protected_regular")
	if !ok {
		return unknown(check, "proc/sys/fs/protected_regular")
	}
	return Finding{check, OK,
		fmt.Sprintf("fs.protected_regular = %d; objects are made exclusively, so it makes no difference", n), "",
		""}
}
