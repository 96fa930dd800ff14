// Package doctor looks at a machine and at an instance's directory for what bites users of shared
// memory, and for what dead instances have left. It looks and says; it changes nothing.
//
// What it knows of the machine it reads through a file system, so that each check can be tried on a made-up one.
package doctor

import (
	"io/fs"
	"os"
	"os/user"
	"runtime"
	"strconv"
	"strings"

	"github.com/godsm/godsm/internal/settings"
)

// Status is how bad a finding is.
type Status string

const (
	OK    Status = "ok"
	Note  Status = "note"  // worth knowing; nothing will fail for it as things stand
	Bites Status = "bites" // something fails for it, or will
)

// Finding is what one check says.
type Finding struct {
	Check  string `json:"check"` // its name, which does not change
	Status Status `json:"status"`
	Found  string `json:"found"` // what is so
	Means  string `json:"means"` // for users of shared memory; empty if all is well
	Cure   string `json:"cure"`  // the command or setting that mends it; empty if nothing needs mending
}

// Machine is where the checks look.
type Machine struct {
	OS   string
	Root fs.FS // of the file system
	UID  int
	User string // name; empty if not known
	// Usage is of the file system at an absolute path, in bytes; zeros if it can't be told.
	Usage func(path string) (size, free uint64)
}

// Here returns the machine that this process runs on.
func Here() Machine {
	m := Machine{OS: runtime.GOOS, Root: os.DirFS("/"), UID: os.Geteuid(), Usage: usage}
	if u, err := user.LookupId(strconv.Itoa(m.UID)); err == nil {
		m.User = u.Username
	}
	return m
}

// Check looks at the machine for an instance with these settings.
func (m Machine) Check(v settings.Values) []Finding {
	if m.OS != "linux" {
		return []Finding{{"machine", Note, "this is " + m.OS,
			"only the settings, the directory and leftovers are looked at here; limits of the system show " +
				"as errors when they are met",
			""}}
	}
	return []Finding{
		m.shmMount(v), m.removeIPC(v), m.sysvLimits(v), m.sysvForced(v), m.namespaces(), m.protectedRegular(),
		m.overcommit(), m.mapCount(v), m.memoryCgroup(v), m.openFiles(v), m.fileSize(), m.addressSpace(v),
		m.copyOnWrite(v),
	}
}

// Worst returns the status of all together.
func Worst(list []Finding) Status {
	worst := OK
	for _, f := range list {
		if f.Status == Bites || worst == OK {
			worst = f.Status
		}
	}
	return worst
}

// softened returns a finding that can't bite, since what it is about is not in use.
func softened(f Finding, used bool, means string) Finding {
	if f.Status == Bites && !used {
		f.Status, f.Means = Note, means+f.Means
	}
	return f
}

// text returns a file's, without blanks around; empty if it can't be read.
func (m Machine) text(path string) string {
	b, _ := fs.ReadFile(m.Root, path)
	return strings.TrimSpace(string(b))
}

// number returns a file's first word as a number.
func (m Machine) number(path string) (n uint64, ok bool) {
	f := strings.Fields(m.text(path))
	if len(f) == 0 {
		return 0, false
	}
	n, err := strconv.ParseUint(f[0], 10, 64)
	return n, err == nil
}

func (m Machine) exists(path string) bool {
	_, err := fs.Stat(m.Root, path)
	return err == nil
}

// unknown returns the finding of a check that can't see what it looks for.
func unknown(check, path string) Finding {
	return Finding{check, Note, "/" + path + " can't be read", "nothing can be said about it", ""}
}
