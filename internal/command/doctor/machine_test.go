package doctor

import (
	"io/fs"
	"maps"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/godsm/godsm/internal/settings"
)

// healthy is a machine on which nothing bites.
func healthy() fstest.MapFS {
	tree := fstest.MapFS{"dev/shm": {Mode: fs.ModeDir | fs.ModeSticky | 0o777}}
	for path, text := range map[string]string{
		"proc/mounts": "/dev/sda / ext4 rw 0 0\ntmpfs /dev/shm tmpfs rw,nosuid 0 0\n",
		"proc/self/limits": "Limit                     Soft Limit           Hard Limit           Units     \n" +
			"Max file size             unlimited            unlimited            bytes     \n" +
			"Max open files            1024                 524288               files     \n" +
			"Max address space         unlimited            unlimited            bytes     \n",
		"proc/self/cgroup":                "0::/user.slice\n",
		"proc/sys/kernel/shmmax":          "18446744073692774399\n",
		"proc/sys/kernel/shmall":          "18446744073692774399\n",
		"proc/sys/kernel/shmmni":          "32768\n",
		"proc/sys/kernel/shm_rmid_forced": "0\n",
		"proc/sysvipc/shm":                "key shmid perms size\n",
		"proc/sys/fs/protected_regular":   "2\n",
		"proc/sys/vm/overcommit_memory":   "0\n",
		"proc/sys/vm/max_map_count":       "65530\n",
		"etc/login.defs":                  "# comment\nSYS_UID_MAX 999\n",
	} {
		put(tree, path, text)
	}
	for kind, is := range initial {
		link(tree, "proc/self/ns/"+kind, is)
	}
	link(tree, "proc/self/ns/mnt", "mnt:[1]")
	link(tree, "proc/1/ns/mnt", "mnt:[1]")
	return tree
}

func put(tree fstest.MapFS, path, text string) {
	tree[path] = &fstest.MapFile{Data: []byte(text), Mode: 0o644}
}

func link(tree fstest.MapFS, path, to string) {
	tree[path] = &fstest.MapFile{Data: []byte(to), Mode: fs.ModeSymlink | 0o777}
}

func usual() settings.Values {
	return settings.Values{DynamicSharedMemoryType: "posix", MaxProcesses: 256, MaxSegments: 4096}
}

func TestHealthyMachine(t *testing.T) {
	m := Machine{OS: "linux", Root: healthy(), UID: 1000,
		User: "me", Usage: func(string) (uint64, uint64) { return 8 << 30, 7 << 30 }}
	seen := map[string]bool{}
	for _, f := range m.Check(usual()) {
		if f.Status != OK || f.Found == "" || f.Means != "" || f.Cure != "" || seen[f.Check] {
			t.Errorf("%+v", f)
		}
		seen[f.Check] = true
	}
	if Worst(m.Check(usual())) != OK {
		t.Error("something is wrong")
	}
}

func TestOtherSystems(t *testing.T) {
	m := Machine{OS: "plan9", Root: fstest.MapFS{}}
	list := m.Check(usual())
	if len(list) != 1 || list[0].Status != Note || !strings.Contains(list[0].Found, "plan9") || Worst(list) != Note {
		t.Errorf("%+v", list)
	}
}

func TestNothingToSee(t *testing.T) { // a /proc that is not mounted is no reason to panic, or to say that all is well
	m := Machine{OS: "linux", Root: fstest.MapFS{}, UID: 1000, Usage: func(string) (uint64, uint64) { return 0, 0 }}
	for _, f := range m.Check(usual()) {
		if f.Check != "remove_ipc" && f.Check != "memory_cgroup" && f.Check != "sysv_rmid_forced" && f.Status == OK {
			t.Errorf("%+v", f)
		}
	}
}

func TestTraps(t *testing.T) {
	type tree = map[string]string
	logind := func(files ...string) tree {
		x := tree{"run/systemd/system/x": ""}
		for i := 0; i < len(files); i += 2 {
			x[files[i]] = files[i+1]
		}
		return x
	}
	const no, yes = "[Login]\nRemoveIPC=no\n", "[Login]\n RemoveIPC = yes \n"
	for _, c := range []struct {
		name  string
		files tree // "" removes one; a value that begins with -> is a link
		edit  func(m *Machine, v *settings.Values)
		check string
		want  Status
		says  string // in the finding's text
	}{
		{"no shm", nil, func(m *Machine, _ *settings.Values) { delete(m.Root.(fstest.MapFS), "dev/shm") },
			"shm_mount", Bites, "mkdir /dev/shm"},
		{"64 MB", nil, usage64, "shm_mount", Bites, "64 MB"},
		{"64 MB, not used", nil,
			func(m *Machine, v *settings.Values) { usage64(m, v); v.DynamicSharedMemoryType = "sysv" },
			"shm_mount", Note, "not used by type sysv"},
		{"full", nil, func(m *Machine, _ *settings.Values) {
			m.Usage = func(string) (uint64, uint64) { return 8 << 30, 1 << 20 }
		}, "shm_mount", Bites, "nearly full"},
		{"less than the region", nil, func(_ *Machine, v *settings.Values) { v.MinDynamicSharedMemory = 1 << 50 },
			"shm_mount", Bites, "min_dynamic_shared_memory"},
		{"less than max_memory", nil, func(_ *Machine, v *settings.Values) { v.MaxMemory = 100 << 30 },
			"shm_mount", Note, "max_memory"},
		{"read-only", tree{"proc/mounts": "tmpfs /dev/shm tmpfs ro,nosuid 0 0\n"}, nil,
			"shm_mount", Bites, "remount,rw"},
		{"hidden by a later mount", tree{"proc/mounts": "tmpfs /dev/shm tmpfs ro 0 0\ntmpfs /dev/shm tmpfs rw 0 0\n"},
			nil, "shm_mount", OK, "tmpfs"},
		{"no mount of its own", tree{"proc/mounts": "/dev/sda / ext4 rw 0 0\noverlay /dev overlay rw 0 0\n"}, nil,
			"shm_mount", Note, "overlay"},
		{"not for us", nil,
			func(m *Machine, _ *settings.Values) { m.Root.(fstest.MapFS)["dev/shm"].Mode = fs.ModeDir | 0o755 },
			"shm_mount", Bites, "chmod 1777"},
		{"not sticky", nil,
			func(m *Machine, _ *settings.Values) { m.Root.(fstest.MapFS)["dev/shm"].Mode = fs.ModeDir | 0o777 },
			"shm_mount", Bites, "sticky"},

		{"files that are copied at each write", tree{"proc/mounts": "/dev/sda / btrfs rw 0 0\n"},
			func(_ *Machine, v *settings.Values) { v.DynamicSharedMemoryType, v.MmapDirectory = "mmap", "/srv/mmap" },
			"mmap_directory", Bites, "after a snapshot"},
		{"files that are copied at each write, not used", tree{"proc/mounts": "/dev/sda / ext4 rw 0 0\npool /srv zfs rw 0 0\n"},
			func(_ *Machine, v *settings.Values) { v.MmapDirectory = "/srv/mmap" }, "mmap_directory", Note, "not used"},

		{"RemoveIPC by default", logind(), nil, "remove_ipc", Bites, "loginctl enable-linger me"},
		{"RemoveIPC, not of files", logind(),
			func(_ *Machine, v *settings.Values) { v.DynamicSharedMemoryType = "mmap" },
			"remove_ipc", Note, "left alone"},
		{"RemoveIPC, sysv", logind(), func(_ *Machine, v *settings.Values) { v.DynamicSharedMemoryType = "sysv" },
			"remove_ipc", Bites, ""},
		{"no user name", logind(), func(m *Machine, _ *settings.Values) { m.User = "" },
			"remove_ipc", Bites, "enable-linger 1000"},
		{"RemoveIPC=no", logind("etc/systemd/logind.conf", no), nil, "remove_ipc", OK, "/etc/systemd/logind.conf"},
		{"in a comment", logind("etc/systemd/logind.conf", "[Login]\n#RemoveIPC=no\n"), nil,
			"remove_ipc", Bites, "the default"},
		{"in another section", logind("etc/systemd/logind.conf", "[Other]\nRemoveIPC=no\n"), nil,
			"remove_ipc", Bites, "the default"},
		{"a vendor's main file", logind("usr/lib/systemd/logind.conf", no), nil,
			"remove_ipc", OK, "/usr/lib/systemd/logind.conf"},
		{"hidden main file", logind("usr/lib/systemd/logind.conf", no, "etc/systemd/logind.conf", "[Login]\n"), nil,
			"remove_ipc", Bites, "the default"},
		{"drop-in wins", logind("etc/systemd/logind.conf", no, "usr/lib/systemd/logind.conf.d/10.conf", yes), nil,
			"remove_ipc", Bites, "10.conf"},
		{"the last drop-in wins", logind("etc/systemd/logind.conf.d/10.conf", yes,
			"run/systemd/logind.conf.d/20.conf", no), nil, "remove_ipc", OK, "20.conf"},
		{"hidden drop-in", logind("etc/systemd/logind.conf.d/10.conf", no,
			"usr/lib/systemd/logind.conf.d/10.conf", yes), nil, "remove_ipc", OK, "/etc/systemd/logind.conf.d/10.conf"},
		{"empty is the default", logind("etc/systemd/logind.conf", no, "etc/systemd/logind.conf.d/10.conf",
			"[Login]\nRemoveIPC=\n"), nil, "remove_ipc", Bites, ""},
		{"system user", logind(), func(m *Machine, _ *settings.Values) { m.UID = 999 },
			"remove_ipc", OK, "system user"},
		{"system users end earlier", logind("etc/login.defs",
			"SYS_UID_MAX\t499\n"), func(m *Machine, _ *settings.Values) { m.UID = 500 }, "remove_ipc", Bites, ""},
		{"root", logind(), func(m *Machine, _ *settings.Values) { m.UID = 0 }, "remove_ipc", OK, "system user"},
		{"lingering", logind("var/lib/systemd/linger/me", ""), nil, "remove_ipc", OK, "lingers"},
		{"somebody else lingers", logind("var/lib/systemd/linger/you", ""), nil, "remove_ipc", Bites, ""},

		{"shmmax", tree{"proc/sys/kernel/shmmax": "33554432\n"}, sysv, "sysv_limits", Bites, "kernel.shmmax"},
		{"shmall", tree{"proc/sys/kernel/shmall": "20000\n",
			"proc/sysvipc/shm": sysvRow(5, 16<<20, 600, 0, 1000)}, sysv, "sysv_limits", Bites, "kernel.shmall"},
		{"shmmni", tree{"proc/sys/kernel/shmmni": "2\n", "proc/sysvipc/shm": sysvRow(5, 5000, 600, 0, 1000)}, sysv,
			"sysv_limits", Bites, "there can be 1 more"},
		{"Linux's own shmmni", tree{"proc/sys/kernel/shmmni": "4096\n"}, sysv,
			"sysv_limits", Note, "max_segments is 4096"},
		{"limits of what is not used", tree{"proc/sys/kernel/shmmni": "2\n"}, nil,
			"sysv_limits", OK, "not used by type posix"},
		{"no SysV", tree{"proc/sys/kernel/shmmni": "-"}, sysv, "sysv_limits", Bites, "no System V"},
		{"rmid forced", tree{"proc/sys/kernel/shm_rmid_forced": "1\n"}, sysv, "sysv_rmid_forced", Bites, "pinned"},
		{"rmid forced, not used", tree{"proc/sys/kernel/shm_rmid_forced": "1\n"}, nil,
			"sysv_rmid_forced", Note, "not used"},

		{"a pid namespace", tree{"proc/self/ns/pid": "->pid:[4026532444]"}, nil,
			"namespaces", Note, "pid:[4026532444]"},
		{"an ipc namespace", tree{"proc/self/ns/ipc": "->ipc:[4026532445]"}, nil,
			"namespaces", Note, "ipc:[4026532445]"},
		{"a mount namespace", tree{"proc/self/ns/mnt": "->mnt:[2]"}, nil, "namespaces", Note, "mnt:[2]"},
		{"process 1 is not to be seen", tree{"proc/1/ns/mnt": "-"}, nil, "namespaces", OK, ""},

		{"no overcommit", tree{"proc/sys/vm/overcommit_memory": "2\n",
			"proc/meminfo": "CommitLimit:  4194304 kB\nCommitted_AS: 1048576 kB\n"}, nil,
			"overcommit", Note, "3 GB more"},
		{"no overcommit, nothing left", tree{"proc/sys/vm/overcommit_memory": "2\n",
			"proc/meminfo": "CommitLimit:  4194304 kB\nCommitted_AS: 5194304 kB\n"}, nil,
			"overcommit", Bites, "overcommit_ratio"},

		{"few mappings", tree{"proc/sys/vm/max_map_count": "1000\n"}, nil, "map_count", Bites, "max_map_count=262144"},
		{"few are enough", tree{"proc/sys/vm/max_map_count": "2000\n"},
			func(_ *Machine, v *settings.Values) { v.MaxSegmentsPerProcess = 100 },
			"map_count", OK, ""},
		{"guards", tree{"proc/sys/vm/max_map_count": "20000\n"},
			func(_ *Machine, v *settings.Values) { v.Checked = true },
			"map_count", Bites, "guards"},
		{"all of many", nil, func(_ *Machine, v *settings.Values) { v.MaxSegments = 65535 },
			"map_count", Note, "65535"},

		{"cgroup v2", tree{"sys/fs/cgroup/user.slice/memory.max": "1073741824\n",
			"sys/fs/cgroup/user.slice/memory.current": "1048576\n"}, nil, "memory_cgroup", Note, "max_memory = 511MB"},
		{"cgroup v2, no limit", tree{"sys/fs/cgroup/user.slice/memory.max": "max\n"}, nil,
			"memory_cgroup", OK, "no limit"},
		{"cgroup v2, nothing left", tree{"sys/fs/cgroup/user.slice/memory.max": "1073741824\n",
			"sys/fs/cgroup/user.slice/memory.current": "1073000000\n"}, nil, "memory_cgroup", Bites, "MemoryMax="},
		{"cgroup v2, the parent's", tree{"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/memory.max": "1073741824\n",
			"sys/fs/cgroup/a/b/memory.max": "max\n"}, nil, "memory_cgroup", Note, "/sys/fs/cgroup/a"},
		{"cgroup v2, beside v1", tree{"sys/fs/cgroup/unified/user.slice/memory.max": "1073741824\n"}, nil,
			"memory_cgroup", Note, "unified"},
		{"cgroup v1", tree{"proc/self/cgroup": "5:cpu,memory:/docker/x\n0::/\n",
			"sys/fs/cgroup/memory/docker/x/memory.limit_in_bytes": "1073741824\n"}, nil, "memory_cgroup", Note, "1 GB"},
		{"cgroup v1, no limit", tree{"proc/self/cgroup": "5:memory:/\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"}, nil,
			"memory_cgroup", OK, "no limit"},
		{"cgroup v1, seen from inside", tree{"proc/self/cgroup": "5:memory:/docker/x\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes": "1073741824\n"}, nil, "memory_cgroup", Note, "1 GB"},
		{"cgroup, max_memory is less", tree{"sys/fs/cgroup/user.slice/memory.max": "1073741824\n"},
			func(_ *Machine, v *settings.Values) { v.MaxMemory = 1 << 29 },
			"memory_cgroup", OK, "less"},

		{"few descriptors", tree{"proc/self/limits": "Max open files   20   20   files\n"}, nil,
			"rlimit_nofile", Bites, "ulimit -n"},
		{"descriptors for fewer sessions", tree{"proc/self/limits": "Max open files   256   256   files\n"}, nil,
			"rlimit_nofile", Note, "256"},
		{"small files", tree{"proc/self/limits": "Max file size   1048576   unlimited   bytes\n"}, nil,
			"rlimit_fsize", Bites, "1 MB"},
		{"not so small files", tree{"proc/self/limits": "Max file size   1073741824   unlimited   bytes\n"}, nil,
			"rlimit_fsize", Note, "1 GB"},
		{"address space", tree{"proc/self/limits": "Max address space   1073741824   unlimited   bytes\n"}, nil,
			"rlimit_as", Bites, "ulimit -v"},
		{"more address space", tree{"proc/self/limits": "Max address space   107374182400   unlimited   bytes\n"},
			func(_ *Machine, v *settings.Values) { v.Checked = true },
			"rlimit_as", Note, "guards"},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := maps.Clone(healthy())
			for path, text := range c.files {
				to, is := strings.CutPrefix(text, "->")
				switch {
				case is:
					link(root, path, to)
				case text == "-":
					delete(root, path)
				default:
					put(root, path, text)
				}
			}
			m := Machine{OS: "linux", Root: root, UID: 1000,
				User: "me", Usage: func(string) (uint64, uint64) { return 8 << 30, 7 << 30 }}
			v := usual()
			if c.edit != nil {
				c.edit(&m, &v)
			}
			for _, f := range m.Check(v) {
				if f.Check != c.check {
					continue
				}
				if f.Status != c.want || !strings.Contains(f.Found+"|"+f.Means+"|"+f.Cure, c.says) {
					t.Errorf("%+v, want %s and %q", f, c.want, c.says)
				}
				if (f.Status == OK) != (f.Means == "") || f.Status == Bites && f.Cure == "" {
					t.Errorf("%+v: what is not well has a meaning, and what bites a cure", f)
				}
				return
			}
			t.Errorf("there is no check %s", c.check)
		})
	}
}

func sysv(_ *Machine, v *settings.Values) { v.DynamicSharedMemoryType = "sysv" }

func usage64(m *Machine, _ *settings.Values) {
	m.Usage = func(string) (uint64, uint64) { return 64 << 20, 64 << 20 }
}
