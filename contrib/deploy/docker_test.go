package deploy

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
)

// TestDockerfile looks at the Dockerfile's structure alone: to build it takes a daemon and the network, which a test has not.
func TestDockerfile(t *testing.T) {
	b, err := os.ReadFile("Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	known := []string{"FROM", "WORKDIR", "COPY", "RUN", "USER", "ENV", "VOLUME", "STOPSIGNAL", "HEALTHCHECK", "ENTRYPOINT", "CMD"}
	var stages, copied []string
	last := map[string]string{}
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		name, rest, _ := strings.Cut(line, " ")
		if !slices.Contains(known, name) {
			t.Errorf("%s is no instruction of this file's", name)
		}
		last[name] = rest
		fields := strings.Fields(rest)
		switch name {
		case "FROM":
			if len(fields) == 3 && fields[1] == "AS" {
				stages = append(stages, fields[2])
			}
			clear(last)
		case "COPY":
			if from, ok := strings.CutPrefix(fields[0], "--from="); ok && !slices.Contains(stages, from) {
				t.Errorf("COPY from the stage %s, which is not there", from)
			}
			copied = append(copied, fields[len(fields)-1])
		}
	}
	var entry, args []string
	for name, list := range map[string]*[]string{"ENTRYPOINT": &entry, "CMD": &args} {
		if err := json.Unmarshal([]byte(last[name]), list); err != nil {
			t.Errorf("%s %s is not in its exec form, so signals would go to a shell: %v", name, last[name], err)
		}
	}
	if len(entry) != 1 || !slices.Contains(copied, entry[0]) {
		t.Errorf("ENTRYPOINT %q is not copied into the image: %q", entry, copied)
	}
	if len(args) == 0 || args[0] != "supervise" || last["STOPSIGNAL"] != "SIGTERM" || last["USER"] == "" {
		t.Errorf("CMD %q, STOPSIGNAL %s, USER %s", args, last["STOPSIGNAL"], last["USER"])
	}
	dir, ok := strings.CutPrefix(last["ENV"], "DSM_DIR=")
	if !ok || !strings.HasPrefix(dir, last["VOLUME"]+"/") {
		t.Errorf("the directory %s is to be below the volume %s", dir, last["VOLUME"])
	}
}
