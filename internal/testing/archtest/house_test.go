package archtest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestHouseNamesEveryPackage: the section "The house" of doc/concepts.md names every package of the module but the
// examples, and no package that does not exist. A name is the first word of an indented line, or a word of such a line
// that begins as the path of a package does.
func TestHouseNamesEveryPackage(t *testing.T) {
	text, err := os.ReadFile("../../../doc/concepts.md")
	if err != nil {
		t.Fatal(err)
	}
	_, house, ok := strings.Cut(string(text), "\n## The house\n")
	if !ok {
		t.Fatal("doc/concepts.md has no section The house")
	}
	house, _, _ = strings.Cut(house, "\n## ")
	packages, tops := map[string]bool{}, map[string]bool{}
	for _, f := range files(t) {
		if f.test() || f.pkg == "." || strings.HasPrefix(f.pkg, "examples/") {
			continue
		}
		packages[f.pkg] = true
		top, _, _ := strings.Cut(f.pkg, "/")
		tops[top] = true
	}
	named := map[string]bool{}
	for line := range strings.Lines(house) {
		if !strings.HasPrefix(line, "    ") {
			continue
		}
		for i, word := range strings.Fields(line) {
			word = strings.Trim(word, ".,;:()")
			top, _, path := strings.Cut(word, "/")
			first := i == 0 && line[4] != ' '
			switch {
			case strings.HasSuffix(word, "/") || !first && !(path && tops[top]): // a heading such as internal/..., or prose
			case packages[word]:
				named[word] = true
			case !nested(filepath.Join("../../..", word)):
				t.Errorf("The house names %s, which is no package", word)
			}
		}
	}
	for pkg := range packages {
		if !named[pkg] {
			t.Errorf("The house does not name %s", pkg)
		}
	}
}
