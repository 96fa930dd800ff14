package archtest

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// layouts are the structures of doc/upgrade.md, and where the code says which version of them it knows.
var layouts = []struct{ structure, file, constant string }{
	{"control segment", "control/layout.go", "layoutVersion"},
	{"table of names", "registry/table.go", "tableVersion"},
	{"area", "shm/dsa/layout.go", "version"},
	{"hash table", "shm/dshash/layout.go", "version"},
	{"cache in a region", "shm/logcache/layout.go", "Version"},
	{"named cache", "cache/head.go", "headVersion"},
	{"message queue", "shm/mq/layout.go", "version"},
	{"table of contents", "shm/toc/toc.go", "version"},
	{"port, and its connections", "dsmnet/dsmnet.go", "portVersion"},
	{"lock table", "locktable/layout.go", "version"},
	{"roster of a lock table", "shm/roster/layout.go", "version"},
	{"queue of batch/shared", "batch/shared/layout.go", "version"},
}

// TestUpgradeTellsTheVersions: the table of doc/upgrade.md has the version of each structure, and each version that has come since
// the first one tells what changed.
func TestUpgradeTellsTheVersions(t *testing.T) {
	root := filepath.Join("..", "..", "..")
	text, err := os.ReadFile(filepath.Join(root, "doc", "upgrade.md"))
	if err != nil {
		t.Fatal(err)
	}
	page := string(text)
	told := regexp.MustCompile(`(?m)^\| ([a-z][a-z ,/]*) \| (\d+)[ ,]`)
	if rows := told.FindAllString(page, -1); len(rows) != len(layouts) {
		t.Errorf("doc/upgrade.md has %d structures, and the test %d", len(rows), len(layouts))
	}
	for _, x := range layouts {
		source, err := os.ReadFile(filepath.Join(root, x.file))
		if err != nil {
			t.Error(err)
			continue
		}
		m := regexp.MustCompile(`(?m)^\s*(?:const )?` + x.constant + `\s+= (\d+)`).FindSubmatch(source)
		if m == nil {
			t.Errorf("%s has no constant %s", x.file, x.constant)
			continue
		}
		if want := fmt.Sprintf("\n| %s | %s", x.structure, m[1]); !strings.Contains(page, want+" |") && !strings.Contains(page, want+",") {
			t.Errorf("doc/upgrade.md does not say that %s is of version %s", x.structure, m[1])
		}
		name := strings.TrimSuffix(strings.TrimSuffix(x.structure, " in a region"), ", and its connections")
		if row := fmt.Sprintf("\n| %s %s | ", name, m[1]); string(m[1]) != "1" && !strings.Contains(page, row) {
			t.Errorf("doc/upgrade.md does not tell what changed with version %s of the %s", m[1], name)
		}
	}
}
