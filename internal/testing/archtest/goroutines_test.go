package archtest

import (
	"go/ast"
	"slices"
	"testing"
)

// goroutines are those that packages with mappings start other than by fault.Go, each with what becomes of a fault in it: a
// neighbour may truncate a segment at any time, and a goroutine of the library's own has no caller that a fault could be
// an error of.
var goroutines = map[string]string{
	"batch/shared startBeats":     "contained contains it",
	"batch/shared awaitDone":      "contained contains it",
	"batch/shared Submit":         "contained contains it",
	"batch/shared open":           "the steward: touch contains it",
	"batch/shared keepSteward":    "as open",
	"cache endingContext":         "it cancels a context, and touches nothing",
	"cache refresh":               "the engine's calls contain it; the loader is the program's",
	"dsm withdrawOwnMapping":      "it touches the books alone, which contain it",
	"dsm moveTo":                  "it touches the books alone, which contain it",
	"dsm open":                    "the watcher: the books, the mailbox and the waits contain it each",
	"dsm enqueueHearerCallLocked": "contained wraps what structures have called; OnDeath's functions are the program's",
	"dsm runHearerCalls":          "as enqueueHearerCallLocked",
	"dsmnet listen":               "answerDialers contains it",
	"locktable asked":             "listen contains what it touches",
	"locktable callOnWait":        "OnWait is the program's",
	"shm/dsa askOthersToUnmap":    "contained",
	"shm/mq setDeadline":          "stir contains it",
	"cache add":                   "flush contains it",
}

// withMappings are the packages that touch segments; a name that ends in /... means those below it too.
var withMappings = []string{"area", "batch/shared", "cache", "control", "dsm", "dsmnet", "locktable", "registry", "shm", "shm/...", "internal/waits"}

// TestGoroutinesOfTheLibraryContainFaults finds each go statement and time.AfterFunc of the packages that touch segments.
func TestGoroutinesOfTheLibraryContainFaults(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range files(t) {
		if f.test() || !slices.ContainsFunc(withMappings, func(n string) bool { return f.pkg == n || within(f.pkg, n) }) {
			continue
		}
		for _, decl := range f.ast.Decls {
			d, is := decl.(*ast.FuncDecl)
			if !is {
				continue
			}
			ast.Inspect(d, func(n ast.Node) bool {
				if !starts(n) {
					return true
				}
				key := f.pkg + " " + d.Name.Name
				if seen[key] = true; goroutines[key] == "" {
					t.Errorf("%s: %s starts a goroutine: what becomes of a fault in it? Start it by fault.Go, or say so in the table", f.path, d.Name.Name)
				}
				return true
			})
		}
	}
	for key := range goroutines {
		if !seen[key] {
			t.Errorf("%s starts no goroutine: it is in the table for nothing", key)
		}
	}
}

// starts reports whether a node starts a goroutine, other than one that only collects garbage.
func starts(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.GoStmt:
		call, _ := n.Call.Fun.(*ast.SelectorExpr)
		return call == nil || call.Sel.Name != "GC"
	case *ast.CallExpr:
		if s, is := n.Fun.(*ast.SelectorExpr); is && s.Sel.Name == "AfterFunc" {
			x, _ := s.X.(*ast.Ident)
			return x != nil && x.Name == "time"
		}
	}
	return false
}
