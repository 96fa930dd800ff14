package archtest

import (
	"go/ast"
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

// TestHouseTypesAreInTheirPackages: each package of the table in "Where a function is" declares the types that the table
// gives it.
func TestHouseTypesAreInTheirPackages(t *testing.T) {
	text, err := os.ReadFile("../../../doc/concepts.md")
	if err != nil {
		t.Fatal(err)
	}
	_, where, ok := strings.Cut(string(text), "\n### Where a function is\n")
	if !ok {
		t.Fatal("doc/concepts.md has no section Where a function is")
	}
	where, _, _ = strings.Cut(where, "\n## ")
	declared := map[string]bool{}
	for _, f := range files(t) {
		if f.test() {
			continue
		}
		for _, d := range f.ast.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok {
				continue
			}
			for _, spec := range g.Specs {
				if typ, ok := spec.(*ast.TypeSpec); ok {
					declared[f.pkg+"."+typ.Name.Name] = true
				}
			}
		}
	}
	rows := 0
	for line := range strings.Lines(where) {
		cells := strings.Split(line, "|")
		if len(cells) != 4 || strings.Contains(line, "---") || strings.Contains(line, "its types") {
			continue
		}
		rows++
		pkg := strings.TrimSpace(cells[1])
		for typ := range strings.SplitSeq(cells[2], ",") {
			if name := pkg + "." + strings.TrimSpace(typ); !declared[name] {
				t.Errorf("doc/concepts.md says that there is a type %s; there is none", name)
			}
		}
	}
	if rows < 10 {
		t.Errorf("the table of types in doc/concepts.md has %d rows", rows)
	}
}
