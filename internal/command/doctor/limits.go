package doctor

import (
	"fmt"
	"math"
	"path"
	"regexp"
	"strconv"
	"strings"

	"github.com/godsm/godsm/internal/bytesize"
	"github.com/godsm/godsm/internal/settings"
)

// memoryCgroup looks for a limit that kills instead of refusing.
func (m Machine) memoryCgroup(v settings.Values) Finding {
	const check = "memory_cgroup"
	limit, used, where := m.cgroupLimit()
	if where == "" {
		return Finding{check, OK, "no limit", "", ""}
	}
	left := limit - min(limit, used)
	found := fmt.Sprintf("%s of %s are in use (/%s)", bytesize.Format(used), bytesize.Format(limit), where)
	means := "reserved shared memory counts; beyond the limit the kernel kills a process " +
		"where it could have had an error; a page is charged to the container whose process touches it first, and stays so"
	switch {
	case left < little:
		return Finding{check, Bites, found,
			means,
			"raise the limit (docker run --memory=..., MemoryMax= in a unit), or set max_memory below what is left"}
	case v.MaxMemory == 0 || v.MaxMemory > left:
		return Finding{check, Note, found, means,
			fmt.Sprintf("max_memory = %dMB makes it an error (ErrQuota)", left>>21)}
	}
	return Finding{check, OK, found + ", and max_memory is less than the rest", "", ""}
}

// cgroupLimit returns the tightest limit above this process. Version 1 and 2 of control groups differ
// in where and how they write it.
func (m Machine) cgroupLimit() (limit, used uint64, where string) {
	limit = math.MaxUint64
	for line := range strings.Lines(m.text("proc/self/cgroup")) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) != 3 {
			continue
		}
		bases, limitFile, usedFile := []string{"sys/fs/cgroup/memory"}, "memory.limit_in_bytes", "memory.usage_in_bytes"
		switch {
		case f[0] == "0" && f[1] == "":
			bases = []string{"sys/fs/cgroup", "sys/fs/cgroup/unified"}
			limitFile, usedFile = "memory.max", "memory.current"
		case !strings.Contains(","+f[1]+",", ",memory,"):
			continue
		}
		for _, base := range bases {
			for p := path.Clean("/" + f[2]); ; p = path.Dir(p) { // a container may see only its own part of the tree
				dir := strings.TrimSuffix(base+p, "/")
				is, ok := m.number(dir + "/" + limitFile)
				use, _ := m.number(dir + "/" + usedFile)
				if ok && is < 1<<60 && (where == "" || is-min(is, use) < limit-min(limit, used)) {
					limit, used, where = is, use, dir
				}
				if p == "/" {
					break
				}
			}
		}
	}
	return limit, used, where
}

// openFiles, fileSize and addressSpace are about limits of this process, and of those that are started beside it.

func (m Machine) openFiles(v settings.Values) Finding {
	const check = "rlimit_nofile"
	n, ok := m.rlimit("Max open files")
	found := fmt.Sprintf("open files (ulimit -n): %d", n)
	switch {
	case !ok:
		return unknown(check, "proc/self/limits")
	case n < 64:
		return Finding{check, Bites, found,
			"sessions and attaches fail for want of descriptors",
			"ulimit -n 1024 (LimitNOFILE=1024 in a unit)"}
	case n < uint64(v.MaxProcesses)+64:
		return Finding{check, Note, found,
			fmt.Sprintf("a supervisor has a descriptor for each of max_processes (%d) sessions; "+
				"those without are found dead a quarter of a second later", v.MaxProcesses),
			fmt.Sprintf("ulimit -n %d (LimitNOFILE= in a unit)", v.MaxProcesses+64)}
	}
	return Finding{check, OK, found, "", ""}
}

func (m Machine) fileSize() Finding {
	const check = "rlimit_fsize"
	n, ok := m.rlimit("Max file size")
	found := "size of files (ulimit -f): " + large(n)
	f := Finding{check, Note, found,
		"segments of types posix and mmap can't be larger",
		"ulimit -f unlimited (LimitFSIZE=infinity in a unit)"}
	switch {
	case !ok:
		return unknown(check, "proc/self/limits")
	case n < little:
		f.Status = Bites
	case n > 1<<50:
		return Finding{check, OK, found, "", ""}
	}
	return f
}

func (m Machine) addressSpace(v settings.Values) Finding {
	const check = "rlimit_as"
	n, ok := m.rlimit("Max address space")
	found := "address space (ulimit -v): " + large(n)
	f := Finding{check, Note, found,
		"mapped segments count, and Go itself takes some hundred megabytes",
		"ulimit -v unlimited (LimitAS=infinity in a unit)"}
	if v.Checked {
		f.Means += "; so do the guards of checked mode, which stay"
	}
	switch {
	case !ok:
		return unknown(check, "proc/self/limits")
	case n < 2<<30:
		f.Status = Bites
	case n > 1<<50:
		return Finding{check, OK, found, "", ""}
	}
	return f
}

var columns = regexp.MustCompile(`\s{2,}`)

// rlimit returns the soft limit that goes by that name.
func (m Machine) rlimit(name string) (n uint64, ok bool) {
	for line := range strings.Lines(m.text("proc/self/limits")) {
		f := columns.Split(strings.TrimSpace(line), -1)
		if len(f) < 3 || f[0] != name {
			continue
		}
		if f[1] == "unlimited" {
			return math.MaxUint64, true
		}
		n, err := strconv.ParseUint(f[1], 10, 64)
		return n, err == nil
	}
	return 0, false
}
