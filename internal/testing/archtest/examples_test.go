package archtest

import (
	"go/ast"
	"go/doc"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"
)

// withoutExample are packages and functions that programs do not call, each with the reason.
var withoutExample = map[string]string{
	"control":          "the books, for package dsm and the supervisor",
	"dsmimpl":          "the contract between package dsm and its backends",
	"dsmimpl/posix":    "a backend: a setting chooses it",
	"dsmimpl/sysv":     "a backend: a setting chooses it",
	"dsmimpl/mmapfile": "a backend: a setting chooses it",
	"dsmimpl/windows":  "a backend: a setting chooses it",
	"dsmimpl/none":     "a backend: a setting chooses it",
	"shm/roster":       "the sessions of package locktable",
	"shm/waitqueue":    "the queues of package locktable",

	"batch.ExecutedOf":           "for drivers, of their own errors",
	"batch/shared.Read":          "for dsmctl, of a report",
	"cache.Read":                 "for dsmctl, of a report",
	"locktable.Look":             "for dsmctl, of a report",
	"locktable.Create":           "Open makes a table by name",
	"locktable.Attach":           "Open finds a table by name",
	"shm.NewView":                "for the package that maps the bytes",
	"shm.ViewAt":                 "for structures",
	"shm/dsa.Look":               "for dsmctl, of a report",
	"shm/dshash.VerifyAt":        "for dsmctl, which knows no types",
	"shm/logcache.If":            "for package cache",
	"shm/logcache.During":        "for package cache",
	"shm/shmsync.NewLWLockUnder": "for structures", "shm/shmsync.NewLWLockWithin": "for structures",
	"shm/shmsync.NewMailbox": "for package dsm", "shm/shmsync.PeerOf": "for structures, of a word of theirs",
}

// TestExamples: each package that programs call has an example with output, and each function that makes something of a
// package's own types is called in an example, of that package or of another one.
func TestExamples(t *testing.T) {
	list := files(t)
	called, shown := map[string]bool{}, map[string]bool{}
	for _, f := range list {
		if !f.test() {
			continue
		}
		for _, x := range doc.Examples(f.ast) {
			shown[f.pkg] = shown[f.pkg] || x.Output != ""
			uses(f, x.Code, called)
			for _, d := range f.ast.Decls { // what the program begins with
				if d, is := d.(*ast.GenDecl); is {
					uses(f, d, called)
				}
			}
		}
	}
	constructors, found := map[string][]string{}, 0
	for _, f := range list {
		if public(f) {
			constructors[f.pkg] = append(constructors[f.pkg], constructorsOf(f, list)...)
			found += len(constructorsOf(f, list))
		}
	}
	if found < 40 {
		t.Errorf("only %d constructors were found", found)
	}
	for _, pkg := range slices.Sorted(maps.Keys(constructors)) {
		if withoutExample[pkg] != "" {
			if shown[pkg] {
				t.Errorf("package %s has an example, and is said to have none: %s", pkg, withoutExample[pkg])
			}
			continue
		}
		if !shown[pkg] {
			t.Errorf("package %s has no example with output", pkg)
		}
		for _, name := range constructors[pkg] {
			name = pkg + "." + name
			switch why := withoutExample[name]; {
			case !called[name] && why == "":
				t.Errorf("%s is in no example: show how it is used, or say here why not", name)
			case called[name] && why != "":
				t.Errorf("%s is in an example, and is said to be in none: %s", name, why)
			}
		}
	}
}

// uses adds the functions of packages of ours that an example names, as folder.Name.
func uses(f file, code ast.Node, to map[string]bool) {
	ast.Inspect(code, func(n ast.Node) bool {
		s, is := n.(*ast.SelectorExpr)
		if !is {
			return true
		}
		if x, is := s.X.(*ast.Ident); is {
			for _, i := range f.imports {
				if pkg, ours := strings.CutPrefix(i, module+"/"); ours && path.Base(pkg) == x.Name {
					to[pkg+"."+s.Sel.Name] = true
				}
			}
		}
		return true
	})
}

// constructorsOf are the exported functions of a file that make something: those whose first result is of an exported type
// of the package or of another one of ours, or of a type that the caller chooses, and those that listen or dial.
func constructorsOf(f file, list []file) (names []string) {
	for _, d := range f.ast.Decls {
		d, is := d.(*ast.FuncDecl)
		if !is || d.Recv != nil || !d.Name.IsExported() || d.Type.Results == nil {
			continue
		}
		first := d.Type.Results.List[0].Type
		if name := base(first); ast.IsExported(name) && (declares(list, f.pkg, name) || chosen(d, name)) ||
			foreign(f, first) || d.Name.Name == "Listen" || d.Name.Name == "Dial" {
			names = append(names, d.Name.Name)
		}
	}
	return names
}

// chosen reports whether a function has a type parameter of that name.
func chosen(d *ast.FuncDecl, name string) bool {
	return d.Type.TypeParams != nil && slices.ContainsFunc(d.Type.TypeParams.List, func(p *ast.Field) bool {
		return slices.ContainsFunc(p.Names, func(n *ast.Ident) bool { return n.Name == name })
	})
}

// foreign reports whether a type is a pointer to one of another package of ours.
func foreign(f file, x ast.Expr) bool {
	star, is := x.(*ast.StarExpr)
	if !is {
		return false
	}
	x = star.X
	switch t := x.(type) {
	case *ast.IndexExpr:
		x = t.X
	case *ast.IndexListExpr:
		x = t.X
	}
	s, is := x.(*ast.SelectorExpr)
	if !is {
		return false
	}
	in, is := s.X.(*ast.Ident)
	return is && slices.ContainsFunc(f.imports, func(i string) bool {
		return strings.HasPrefix(i, module+"/") && path.Base(i) == in.Name
	})
}

// declares reports whether a package declares a type of that name.
func declares(list []file, pkg, name string) bool {
	return slices.ContainsFunc(list, func(f file) bool {
		return f.pkg == pkg && !f.test() && slices.ContainsFunc(f.ast.Decls, func(d ast.Decl) bool {
			g, is := d.(*ast.GenDecl)
			return is && slices.ContainsFunc(g.Specs, func(s ast.Spec) bool {
				t, is := s.(*ast.TypeSpec)
				return is && t.Name.Name == name
			})
		})
	})
}
