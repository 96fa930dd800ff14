package deploy

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestSystemdVerify has systemd read the units, with programs in their place that are there.
func TestSystemdVerify(t *testing.T) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("systemd-analyze is not installed: ", err)
	}
	dir := t.TempDir()
	var paths []string
	for from, to := range map[string]string{"dsm.service": "dsm.service", "dsm-app@.service": "dsm-app@1.service", "metrics.conf": "dsm.service.d/metrics.conf"} {
		b, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		for _, program := range []string{"dsmctl", "app"} {
			b = bytes.ReplaceAll(b, []byte("=/usr/local/bin/"+program+" "), []byte("=/bin/true "))
			b = bytes.ReplaceAll(b, []byte("=/usr/local/bin/"+program+"\n"), []byte("=/bin/true\n"))
		}
		path := filepath.Join(dir, to)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if filepath.Ext(path) == ".service" { // what is added to one is read with it
			paths = append(paths, path)
		}
	}
	cmd := exec.Command("systemd-analyze", append([]string{"verify", "--man=no"}, paths...)...)
	if out, err := cmd.CombinedOutput(); err != nil || len(bytes.TrimSpace(out)) > 0 { // what it only warns of, too
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}

// TestMetricsAreReachable: the unit has no network, so what serves metrics must have it back, of the machine itself alone, and start as
// the unit does.
func TestMetricsAreReachable(t *testing.T) {
	unit, err := os.ReadFile("dsm.service")
	if err != nil {
		t.Fatal(err)
	}
	added, err := os.ReadFile("metrics.conf")
	if err != nil {
		t.Fatal(err)
	}
	start := ""
	for line := range strings.Lines(string(unit)) {
		if strings.HasPrefix(line, "ExecStart=") {
			start = strings.TrimSpace(line)
		}
	}
	for _, want := range []string{"\nExecStart=\n", "\n" + start + " --metrics 127.0.0.1:9464\n", "\nPrivateNetwork=no\n", " AF_INET ", "\nIPAddressDeny=any\n",
		"\nIPAddressAllow=localhost\n"} {
		if !strings.Contains(string(added), want) {
			t.Errorf("no %q", want)
		}
	}
	if !strings.Contains(string(unit), "\nPrivateNetwork=yes\n") || start == "" {
		t.Error("the unit has a network of its own account, or no command: metrics.conf is out of date")
	}
}

// TestUnits: what must not be in a unit, since it would take the memory away or hide it.
func TestUnits(t *testing.T) {
	for _, name := range []string{"dsm.service", "dsm-app@.service"} {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		set := map[string]string{}
		for line := range strings.Lines(string(b)) {
			if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && line[0] != '#' {
				set[key] = value
			}
		}
		for key, want := range map[string]string{"RemoveIPC": "no", "User": "dsm", "StateDirectoryMode": "0700",
			"DynamicUser": "", "PrivateIPC": "", "PrivatePIDs": "", "PrivateUsers": "", "ProcSubset": "", "Requires": "", "BindsTo": "",
			"PartOf": "", "TemporaryFileSystem": "", "RootDirectory": ""} {
			if set[key] != want {
				t.Errorf("%s: %s=%s, not %q", name, key, set[key], want)
			}
		}
	}
}
