package doctor

import (
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/godsm/godsm/internal/settings"
)

// removeIPC checks the settings of systemd-logind, which removes a user's objects when the user's last login ends.
func (m Machine) removeIPC(v settings.Values) Finding {
	const check = "remove_ipc"
	on, source := m.removeIPCSetting()
	switch {
	case !m.exists("run/systemd/system"):
		return Finding{check, OK, "systemd does not run here", "", ""}
	case !on:
		return Finding{check, OK, "RemoveIPC=no (" + source + ")", "", ""}
	case m.UID <= m.systemUIDMax():
		return Finding{check, OK,
			fmt.Sprintf("RemoveIPC=yes (%s), but user %d is a system user, who is left alone", source, m.UID), "", ""}
	case m.User != "" && m.exists("var/lib/systemd/linger/"+m.User):
		return Finding{check, OK, fmt.Sprintf("RemoveIPC=yes (%s), but user %s lingers", source, m.User), "", ""}
	}
	name := m.User
	if name == "" {
		name = strconv.Itoa(m.UID)
	}
	f := Finding{check, Bites, fmt.Sprintf("RemoveIPC=yes (%s), and user %s does not linger", source, name),
		"when this user's last login ends, all segments are removed, under living processes too: " +
			"attaching is ErrNotFound then",
		"loginctl enable-linger " + name +
			", or RemoveIPC=no in /etc/systemd/logind.conf and systemctl restart systemd-logind"}
	return softened(f, v.DynamicSharedMemoryType != "mmap", "files of type mmap are left alone; ")
}

// logindDirs are where its settings are, those that win first.
var logindDirs = []string{"etc/systemd", "run/systemd", "usr/local/lib/systemd", "usr/lib/systemd", "lib/systemd"}

// removeIPCSetting reads the main file (the first there is) and then the drop-ins in the order of
// their names, where one hides those of its name in later directories. The last assignment wins.
func (m Machine) removeIPCSetting() (on bool, source string) {
	on, source = true, "the default"
	var files []string
	for _, dir := range logindDirs {
		if m.exists(dir + "/logind.conf") {
			files = append(files, dir+"/logind.conf")
			break
		}
	}
	dropIns := map[string]string{}
	for _, dir := range logindDirs {
		found, _ := fs.Glob(m.Root, dir+"/logind.conf.d/*.conf")
		for _, f := range found {
			if _, hidden := dropIns[path.Base(f)]; !hidden {
				dropIns[path.Base(f)] = f
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(dropIns)) {
		files = append(files, dropIns[name])
	}
	for _, f := range files {
		section := ""
		for line := range strings.Lines(m.text(f)) {
			line = strings.TrimSpace(line)
			if strings.HasPrefix(line, "[") {
				section = line
			}
			name, value, ok := strings.Cut(line, "=")
			if !ok || section != "[Login]" || strings.TrimSpace(name) != "RemoveIPC" {
				continue
			}
			source = "/" + f
			switch strings.ToLower(strings.TrimSpace(value)) {
			case "1", "yes", "y", "true", "t", "on", "":
				on = true
			case "0", "no", "n", "false", "f", "off":
				on = false
			}
		}
	}
	return on, source
}

// systemUIDMax returns the last uid of system users.
func (m Machine) systemUIDMax() int {
	for line := range strings.Lines(m.text("etc/login.defs")) {
		if f := strings.Fields(line); len(f) >= 2 && f[0] == "SYS_UID_MAX" {
			if n, err := strconv.Atoi(f[1]); err == nil {
				return n
			}
		}
	}
	return 999
}
