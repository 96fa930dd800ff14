// Package layouttest compares tables of the documents in doc with the structs that lie in shared memory.
package layouttest

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// Check makes the test fail unless doc/structures.md has, under a line that begins with heading, the
// table of typ's fields: offset, size and name. Blank fields are left out.
func Check(t *testing.T, heading string, typ reflect.Type) {
	t.Helper()
	CheckIn(t, "structures.md", heading, typ)
}

// CheckIn does what Check does for another document in doc.
func CheckIn(t *testing.T, document, heading string, typ reflect.Type) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root(t), "doc", document))
	if err != nil {
		t.Fatal(err)
	}
	want := "|---:|---:|---|\n"
	for f := range typ.Fields() {
		if f.Name != "_" {
			want += fmt.Sprintf("| %d | %d | %s |\n", f.Offset, f.Type.Size(), f.Name)
		}
	}
	_, after, found := strings.Cut(string(text), "\n"+heading)
	_, table, _ := strings.Cut(after, "\n\n")
	if !found || !strings.Contains(table[:min(len(table), len(want)+200)], want+"\n") {
		t.Errorf("%s: the document does not say\n%s", heading, want)
	}
}

// root returns the module's.
func root(t *testing.T) string {
	dir, err := os.Getwd()
	for ; err == nil; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			break
		}
	}
	t.Fatal("no go.mod above the working directory")
	return ""
}
