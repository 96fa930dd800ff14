package archtest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// inherited are the modules that a program which imports the library gets.
var inherited = []string{"github.com/godsm/godsm", "github.com/google/uuid", "github.com/rs/zerolog", "github.com/mattn/go-colorable",
	"github.com/mattn/go-isatty", "golang.org/x/sys"}

// TestImportersInheritNothingOfTheCommands tidies a module that imports every package of the library: what the commands use for the
// terminal, for flags and for manual pages is not among what it requires.
func TestImportersInheritNothingOfTheCommands(t *testing.T) {
	root, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	packages := map[string]bool{}
	for _, f := range files(t) {
		if !f.test() && f.ast.Name.Name != "main" && !strings.Contains("/"+f.pkg+"/", "/internal/") && f.pkg != "." &&
			!strings.HasPrefix(f.pkg, "cmd/") && !strings.HasPrefix(f.pkg, "examples") && !strings.HasPrefix(f.pkg, "tools") {
			packages[f.pkg] = true
		}
	}
	if len(packages) < 15 {
		t.Fatalf("%d packages", len(packages))
	}
	dir := t.TempDir()
	source := "package importer\n"
	for pkg := range packages {
		source += fmt.Sprintf("import _ %q\n", module+"/"+pkg)
	}
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("importer.go", source)
	write("go.mod", fmt.Sprintf("module example.org/importer\ngo 1.26.0\nrequire %s v0.0.0\nreplace %s => %s\n", module, module, root))
	sums, err := os.ReadFile(filepath.Join(root, "go.sum"))
	if err != nil {
		t.Fatal(err)
	}
	write("go.sum", string(sums))
	tidy := exec.Command("go", "mod", "tidy")
	tidy.Dir, tidy.Env = dir, append(os.Environ(), "GOPROXY=off", "GOFLAGS=-mod=mod", "GOWORK=off")
	if out, err := tidy.CombinedOutput(); err != nil {
		if strings.Contains(string(out), "module lookup disabled") {
			t.Skipf("skipped: the modules are not in this machine's cache: %s", out)
		}
		t.Fatalf("go mod tidy: %v: %s", err, out)
	}
	text, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	required := regexp.MustCompile(`(?m)^\s*(?:require )?([\w./-]+\.[\w./-]+) v\S+`).FindAllStringSubmatch(string(text), -1)
	if len(required) < 3 {
		t.Fatalf("%s", text)
	}
	for _, m := range required {
		if !slices.Contains(inherited, m[1]) {
			t.Errorf("an importer of the library requires %s:\n%s", m[1], text)
		}
	}
}
