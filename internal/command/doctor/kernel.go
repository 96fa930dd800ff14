package doctor

import (
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"github.com/godsm/godsm/internal/bytesize"
	"github.com/godsm/godsm/internal/settings"
)

// sysvLimits checks the kernel's limits for System V shared memory.
func (m Machine) sysvLimits(v settings.Values) Finding {
	const check, page = "sysv_limits", 4096
	shmmax, ok1 := m.number("proc/sys/kernel/shmmax")
	shmall, ok2 := m.number("proc/sys/kernel/shmall")
	shmmni, ok3 := m.number("proc/sys/kernel/shmmni")
	if !ok1 || !ok2 || !ok3 {
		return softened(Finding{check, Bites,
			"the kernel's SysV limits can't be read: it has no System V shared memory",
			"segments of type sysv can't be made", "dynamic_shared_memory_type = posix"},
			v.DynamicSharedMemoryType == "sysv", "not used by type "+v.DynamicSharedMemoryType+"; ")
	}
	rows, bytes := m.sysvUse()
	room := shmall - min(shmall, bytes/page) // pages
	found := fmt.Sprintf("shmmax %s, shmall %s, shmmni %d, of which %d segments and %s are in use",
		large(shmmax), largePages(shmall), shmmni, rows, bytesize.Format(bytes))
	f := Finding{check, OK, found, "", ""}
	switch free := shmmni - min(shmmni, rows); {
	case shmmax < little:
		f = Finding{check, Bites, found,
			"no segment of type sysv can be larger than shmmax",
			"sysctl -w kernel.shmmax=18446744073692774399"}
	case room < little/page:
		f = Finding{check, Bites, found,
			"there is hardly room for another segment of type sysv",
			"sysctl -w kernel.shmall=18446744073692774399"}
	case free < 64:
		f = Finding{check, Bites, found,
			fmt.Sprintf("there can be %d more segments of type sysv", free),
			"sysctl -w kernel.shmmni=32768"}
	case free <= uint64(v.MaxSegments):
		f = Finding{check, Note, found,
			fmt.Sprintf("type sysv: there can be %d more segments, and max_segments is %d", free, v.MaxSegments),
			"sysctl -w kernel.shmmni=32768"}
	}
	if v.DynamicSharedMemoryType != "sysv" && f.Status != OK {
		return Finding{check, OK, found + "; not used by type " + v.DynamicSharedMemoryType, "", ""}
	}
	return f
}

// sysvUse counts the segments in the kernel's table and their bytes.
func (m Machine) sysvUse() (rows, bytes uint64) {
	for _, o := range m.sysvTable() {
		rows, bytes = rows+1, bytes+(o.size+4095)/4096*4096
	}
	return rows, bytes
}

// sysvForced looks for a switch that takes pinned segments away.
func (m Machine) sysvForced(v settings.Values) Finding {
	const check = "sysv_rmid_forced"
	if n, ok := m.number("proc/sys/kernel/shm_rmid_forced"); !ok || n == 0 {
		return Finding{check, OK, "kernel.shm_rmid_forced is off", "", ""}
	}
	f := Finding{check, Bites, "kernel.shm_rmid_forced is on",
		"the kernel removes segments of type sysv that no process has attached, pinned ones too",
		"sysctl -w kernel.shm_rmid_forced=0"}
	return softened(f, v.DynamicSharedMemoryType == "sysv", "not used by type "+v.DynamicSharedMemoryType+"; ")
}

// initial are the inodes of the namespaces that a machine starts with.
var initial = map[string]string{"pid": "pid:[4026531836]", "ipc": "ipc:[4026531839]", "user": "user:[4026531837]"}

// namespaces reports that this process, or one of the instance's, is in a container.
func (m Machine) namespaces() Finding {
	const check = "namespaces"
	var own []string
	for _, kind := range []string{"pid", "ipc", "mnt", "user"} {
		is, err := fs.ReadLink(m.Root, "proc/self/ns/"+kind)
		if err != nil {
			return unknown(check, "proc/self/ns/"+kind)
		}
		machines := initial[kind]
		if kind == "mnt" { // it has no fixed number
			if machines, err = fs.ReadLink(m.Root, "proc/1/ns/mnt"); err != nil {
				continue
			}
		}
		if is != machines {
			own = append(own, is)
		}
	}
	if len(own) == 0 {
		return Finding{check, OK, "those of the machine", "", ""}
	}
	return Finding{check, Note, "of its own: " + strings.Join(own, ", "),
		"processes of other containers share an instance only if they share its directory and, for type posix, the " +
			"mount on /dev/shm, or for sysv the ipc namespace; pids that ls shows are as each process sees itself",
		"docker run --ipc=container:NAME and a volume for the directory; in one Kubernetes pod, shared volumes"}
}

// overcommit looks for a kernel that promises no more memory than it has.
func (m Machine) overcommit() Finding {
	const check = "overcommit"
	mode, ok := m.number("proc/sys/vm/overcommit_memory")
	if !ok {
		return unknown(check, "proc/sys/vm/overcommit_memory")
	}
	if mode != 2 {
		return Finding{check, OK, fmt.Sprintf("vm.overcommit_memory = %d", mode), "", ""}
	}
	limit, promised := m.memInfo("CommitLimit"), m.memInfo("Committed_AS")
	left := limit - min(limit, promised)
	found := fmt.Sprintf("vm.overcommit_memory = 2: %s of %s are promised",
		bytesize.Format(promised), bytesize.Format(limit))
	f := Finding{check, Note, found,
		fmt.Sprintf("shared memory counts; beyond %s more it is ErrNoSpace from Create", bytesize.Format(left)),
		"sysctl -w vm.overcommit_ratio=90, or vm.overcommit_memory=0"}
	if left < little {
		f.Status = Bites
	}
	return f
}

func (m Machine) memInfo(name string) uint64 {
	for line := range strings.Lines(m.text("proc/meminfo")) {
		if f := strings.Fields(line); len(f) >= 2 && f[0] == name+":" {
			n, _ := strconv.ParseUint(f[1], 10, 64)
			return n << 10
		}
	}
	return 0
}

// mapCount checks how many mappings a process may have.
func (m Machine) mapCount(v settings.Values) Finding {
	const check, cure, usual = "map_count", "sysctl -w vm.max_map_count=262144", 65530
	n, ok := m.number("proc/sys/vm/max_map_count")
	if !ok {
		return unknown(check, "proc/sys/vm/max_map_count")
	}
	wanted := uint64(v.MaxSegments) + 1024
	if v.MaxSegmentsPerProcess > 0 {
		wanted = uint64(v.MaxSegmentsPerProcess) + 1024
	}
	why := "segments"
	if v.Checked {
		wanted, why = wanted+16384, "segments, and the guards of checked mode"
	}
	found := fmt.Sprintf("vm.max_map_count = %d", n)
	switch {
	case n < wanted && n < usual:
		return Finding{check, Bites, found,
			fmt.Sprintf("a process that has %d mappings (%s, and the program's own) can't attach any more", n, why),
			cure}
	case n < wanted:
		return Finding{check, Note, found,
			fmt.Sprintf("a process can't attach all of max_segments (%d) at once", v.MaxSegments),
			cure}
	}
	return Finding{check, OK, found, "", ""}
}

func large(n uint64) string {
	if n > 1<<50 {
		return "without limit"
	}
	return bytesize.Format(n)
}

func largePages(n uint64) string {
	if n > 1<<38 {
		return "without limit"
	}
	return bytesize.Format(n << 12)
}
