// Package machine says where figures come from.
package machine

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"
)

// About is what a reader of figures wants to know.
type About struct {
	Date     string            `json:"date"`
	CPU      string            `json:"cpu"`
	CPUs     int               `json:"cpus"`
	MemoryMB int               `json:"memory_mb"`
	Kernel   string            `json:"kernel"`
	System   string            `json:"system"`
	Go       string            `json:"go"`
	Commit   string            `json:"commit"` // of godsm
	Quick    bool              `json:"quick"`
	Repeats  int               `json:"repeats"`
	Took     string            `json:"took"`
	Waited   string            `json:"waited"` // for a quiet machine
	Rivals   map[string]string `json:"rivals"` // versions and settings, or why there was none
}

// Describe looks at this machine.
func Describe() About {
	a := About{Date: time.Now().UTC().Format("2006-01-02 15:04 MST"), CPUs: runtime.NumCPU(), Go: runtime.Version()}
	a.CPU = find("/proc/cpuinfo", `(?m)^model name\s*: (.*)$`)
	kb, _ := strconv.Atoi(find("/proc/meminfo", `(?m)^MemTotal:\s*(\d+) kB$`))
	a.MemoryMB = kb >> 10
	a.Kernel = "Linux " + find("/proc/sys/kernel/osrelease", `(.*)`)
	a.System = find("/etc/os-release", `(?m)^PRETTY_NAME="(.*)"$`)
	if out, err := exec.Command("git", "describe", "--always", "--dirty").Output(); err == nil {
		a.Commit = strings.TrimSpace(string(out))
	}
	return a
}

// find returns what the expression's parentheses hold.
func find(path, expression string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return "unknown"
	}
	if m := regexp.MustCompile(expression).FindSubmatch(b); m != nil {
		return string(m[1])
	}
	return "unknown"
}

// Module returns the name and version of a module that this program was built with.
func Module(path string) string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			if m.Path == path {
				return fmt.Sprintf("%s %s", path, m.Version)
			}
		}
	}
	return path
}
