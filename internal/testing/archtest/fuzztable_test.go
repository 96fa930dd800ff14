package archtest

import (
	"go/ast"
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestFuzzTableIsWhole compares the table of fuzz targets in CONTRIBUTING with the targets that there are.
func TestFuzzTableIsWhole(t *testing.T) {
	text, err := os.ReadFile("../../../CONTRIBUTING.md")
	if err != nil {
		t.Fatal(err)
	}
	named := map[string]bool{} // package and target
	target := regexp.MustCompile(`\bFuzz\w+`)
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(line, "|")
		if len(cells) != 5 {
			continue
		}
		for _, name := range target.FindAllString(cells[2], -1) {
			named[strings.TrimSpace(cells[1])+" "+name] = true
		}
	}
	found := map[string]bool{}
	for _, f := range files(t) {
		for _, d := range f.ast.Decls {
			if d, ok := d.(*ast.FuncDecl); ok && strings.HasPrefix(d.Name.Name, "Fuzz") && strings.HasSuffix(f.path, "_test.go") {
				found[f.pkg+" "+d.Name.Name] = true
				if !named[f.pkg+" "+d.Name.Name] {
					t.Errorf("%s of %s is in no row of CONTRIBUTING's table of fuzz targets", d.Name.Name, f.pkg)
				}
			}
		}
	}
	for x := range named {
		if !found[x] {
			t.Errorf("there is no fuzz target %s", x)
		}
	}
	if len(found) < 10 {
		t.Errorf("only %d fuzz targets were found", len(found))
	}
}
