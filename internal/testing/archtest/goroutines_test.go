package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// goroutines are those that packages with mappings start other than by fault.Go, each with what becomes of a fault in it: a
// neighbour may truncate a segment at any time, and a goroutine of the library's own has no caller that a fault could be
// an error of.
var goroutines = map[string]string{
	"batch/shared beats":  "touch contains it",
	"batch/shared await":  "touch contains it",
	"batch/shared Submit": "touch contains it",
	"batch/shared open":   "the steward: touch contains it",
	"cache refresh":       "the engine's calls contain it; the loader is the program's",
	"dsm withdrawOf":      "it touches the books alone, which contain it",
	"dsm moveTo":          "it touches the books alone, which contain it",
	"dsm open":            "the watcher: the books, the mailbox and the waits contain it each",
	"dsm dueLocked":       "contained wraps what structures have called; OnDeath's functions are the program's",
	"dsm tell":            "as dueLocked",
	"dsmnet listen":       "run contains it",
	"locktable asked":     "listen contains what it touches",
	"locktable tell":      "OnWait is the program's",
	"shm/dsa askOthers":   "contained",
	"shm/mq setDeadline":  "stir contains it",
	"cache add":           "flush contains it",
}

// TestGoroutinesOfTheLibraryContainFaults finds each go statement and time.AfterFunc of the packages that touch segments.
func TestGoroutinesOfTheLibraryContainFaults(t *testing.T) {
	seen := map[string]bool{}
	for _, dir := range []string{"area", "batch/shared", "cache", "control", "dsm", "dsmnet", "locktable", "registry", "shm", "internal/waits"} {
		err := filepath.WalkDir(filepath.Join("../../..", dir), func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if d.IsDir() && d.Name() == "compat" { // a module of its own, without mappings
				return fs.SkipDir
			}
			if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return nil
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
			if err != nil {
				return err
			}
			pkg, _ := filepath.Rel("../../..", filepath.Dir(path))
			for _, decl := range file.Decls {
				f, is := decl.(*ast.FuncDecl)
				if !is {
					continue
				}
				ast.Inspect(f, func(n ast.Node) bool {
					starts := false
					switch n := n.(type) {
					case *ast.GoStmt:
						call, _ := n.Call.Fun.(*ast.SelectorExpr)
						starts = call == nil || call.Sel.Name != "GC"
					case *ast.CallExpr:
						if s, is := n.Fun.(*ast.SelectorExpr); is && s.Sel.Name == "AfterFunc" {
							x, _ := s.X.(*ast.Ident)
							starts = x != nil && x.Name == "time"
						}
					}
					if starts {
						key := filepath.ToSlash(pkg) + " " + f.Name.Name
						if seen[key] = true; goroutines[key] == "" {
							t.Errorf("%s: %s starts a goroutine: what becomes of a fault in it? Start it by fault.Go, or say so in the table", path, f.Name.Name)
						}
					}
					return true
				})
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for key := range goroutines {
		if !seen[key] {
			t.Errorf("%s starts no goroutine: it is in the table for nothing", key)
		}
	}
}
