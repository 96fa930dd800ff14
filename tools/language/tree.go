package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/scanner"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
)

// finding is one offence against a rule.
type finding struct{ place, rule, text string }

// source is one Go file.
type source struct {
	path string // from the root, with slashes
	text []byte
	fset *token.FileSet
	ast  *ast.File
}

func (s *source) test() bool { return strings.HasSuffix(s.path, "_test.go") }

// at returns a finding at a position.
func (s *source) at(pos token.Pos, rule, format string, args ...any) finding {
	p := s.fset.Position(pos)
	return finding{fmt.Sprintf("%s:%d", s.path, p.Line), rule, fmt.Sprintf(format, args...)}
}

// folder is a directory with Go files, which is a package and its tests.
type folder struct {
	name                    string // from the root; "." is the root
	files                   []*source
	commentLines, codeLines int // of files that are no tests
}

// density returns the comment lines for each code line. A line with both counts as code.
func (f *folder) density() float64 {
	if f.codeLines == 0 {
		return 0
	}
	return float64(f.commentLines) / float64(f.codeLines)
}

// readTree parses the Go files below root, those of nested modules too; only limits it to some folders.
func readTree(root string, only []string) ([]*folder, error) {
	folders := map[string]*folder{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if path != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata") {
				return filepath.SkipDir
			}
			return nil
		}
		rel, err := filepath.Rel(root, path)
		if err != nil || filepath.Ext(path) != ".go" {
			return err
		}
		name := filepath.ToSlash(filepath.Dir(rel))
		if len(only) > 0 && !slices.Contains(only, name) {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		s, err := parse(filepath.ToSlash(rel), text)
		if err != nil {
			return err
		}
		f := folders[name]
		if f == nil {
			f = &folder{name: name}
			folders[name] = f
		}
		f.add(s)
		return nil
	})
	var list []*folder
	for _, f := range folders {
		list = append(list, f)
	}
	sort.Slice(list, func(i, j int) bool { return list[i].name < list[j].name })
	return list, err
}

func parse(path string, text []byte) (*source, error) {
	s := &source{path: path, text: text, fset: token.NewFileSet()}
	var err error
	s.ast, err = parser.ParseFile(s.fset, path, text, parser.ParseComments|parser.SkipObjectResolution)
	return s, err
}

func (f *folder) add(s *source) {
	f.files = append(f.files, s)
	if !s.test() {
		comments, code := countLines(s.text)
		f.commentLines += comments
		f.codeLines += code
	}
}

// countLines counts the lines that hold a comment alone, and those that hold code.
func countLines(text []byte) (comments, code int) {
	fset := token.NewFileSet()
	file := fset.AddFile("", -1, len(text))
	var sc scanner.Scanner
	sc.Init(file, text, nil, scanner.ScanComments)
	hasCode, hasComment := map[int]bool{}, map[int]bool{}
	for {
		pos, tok, lit := sc.Scan()
		if tok == token.EOF {
			break
		}
		if tok == token.SEMICOLON && lit == "\n" {
			continue
		}
		lines := hasCode
		if tok == token.COMMENT {
			lines = hasComment
		}
		first := file.Line(pos)
		for i := range strings.Count(lit, "\n") + 1 {
			lines[first+i] = true
		}
	}
	for l := range hasComment {
		if !hasCode[l] {
			comments++
		}
	}
	return comments, len(hasCode)
}
