package archtest

import (
	"go/ast"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// mayWait are calls without a context that may wait, or of which a reader expects that they might. Those of types that
// are not exported bear the name of the interface that they are returned as.
var mayWait = map[string][]string{
	"dsm":        {"Session.Close", "Segment.Detach", "Segment.With", "Segment.OnDetach", "Session.OnDeath"},
	"supervisor": {"Supervisor.Stop"},
	"resowner":   {"Owner.Commit", "Owner.Abort"},
	"parallel":   {"Worker.Progress", "Main"},
	"dsmnet":     {"Listener.Accept", "Listener.Close", "Conn.Read", "Conn.Write", "Conn.Close"},
	"shm/mq": {"Conn.Read", "Conn.Write", "Conn.Close", "Conn.CloseRead", "Conn.CloseWrite", "Sender.TrySend", "Sender.Flush", "Sender.Detach",
		"Receiver.TryReceive", "Receiver.Detach"},
	"shm/dsa": {"Area.Alloc", "Area.AllocZeroed", "Area.AllocInto", "Area.AllocBytesInto", "Area.Free", "Area.FreeFrom",
		"Area.Bytes", "Area.Current", "Area.Detach", "New", "Ref.In", "Ref.Free"},
	"shm/dshash": {"Entry.Update", "Entry.Delete", "Entry.Release", "BytesEntry.Update", "BytesEntry.Delete",
		"BytesEntry.Release", "Create", "CreateInto", "CreateBytes", "CreateBytesInto"},
	"shm/shmsync": {"LWLock.TryLock", "LWLock.TryRLock", "Guard.Unlock", "Barrier.Attach", "Barrier.Detach",
		"Barrier.ArriveAndDetach"},
}

// notOurs are names in the tables whose types are not exported.
var notOurs = regexp.MustCompile(`^(Listener|Conn)\.(Accept|Close|Read|Write)$`)

// TestBlockingIsDocumented: doc/blocking.md has a row for every exported function and method that takes a context, or is
// in mayWait, and for nothing that does not exist.
func TestBlockingIsDocumented(t *testing.T) {
	text, err := os.ReadFile("../../../doc/blocking.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := tables(string(text))
	waiting, exist := exported(files(t))
	for pkg, names := range mayWait {
		waiting[pkg] = append(waiting[pkg], names...)
	}
	for pkg, names := range waiting {
		for _, name := range names {
			if !slices.Contains(documented[pkg], name) {
				t.Errorf("%s.%s may wait and has no row in doc/blocking.md: say for what, how long, and what ends it",
					pkg, name)
			}
		}
	}
	for pkg, names := range documented {
		for i, name := range names {
			if !slices.Contains(exist[pkg], name) && !(pkg == "dsmnet" && notOurs.MatchString(name)) {
				t.Errorf("doc/blocking.md has a row for %s.%s, which does not exist", pkg, name)
			}
			if slices.Contains(names[:i], name) {
				t.Errorf("doc/blocking.md has two rows for %s.%s", pkg, name)
			}
		}
	}
}

// tables are the names in the first column, by package.
func tables(text string) map[string][]string {
	names := map[string][]string{}
	pkg := ""
	for line := range strings.Lines(text) {
		if name, ok := strings.CutPrefix(line, "## package "); ok {
			pkg = strings.TrimSpace(name)
		}
		cells := strings.Split(line, "|")
		if pkg == "" || len(cells) != 5 {
			continue
		}
		for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(cells[1], -1) {
			names[pkg] = append(names[pkg], m[1])
		}
	}
	return names
}

// exported are the exported functions and methods of the packages that programs may import, and those of them that
// take a context. A method of an embedded type counts as the outer type's.
func exported(list []file) (waiting, exist map[string][]string) {
	waiting, exist = map[string][]string{}, map[string][]string{}
	embedders := map[string][]string{} // by package and embedded type
	for _, f := range list {
		if !public(f) {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok || !spec.Name.IsExported() {
				return true
			}
			if s, ok := spec.Type.(*ast.StructType); ok {
				for _, field := range s.Fields.List {
					if len(field.Names) == 0 {
						inner := f.pkg + "." + base(field.Type)
						embedders[inner] = append(embedders[inner], spec.Name.Name)
					}
				}
			}
			return true
		})
	}
	for _, f := range list {
		if !public(f) {
			continue
		}
		add := func(name string, typ *ast.FuncType) {
			exist[f.pkg] = append(exist[f.pkg], name)
			if takesContext(typ) {
				waiting[f.pkg] = append(waiting[f.pkg], name)
			}
		}
		for _, d := range f.ast.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				switch {
				case !d.Name.IsExported():
				case d.Recv == nil:
					add(d.Name.Name, d.Type)
				default:
					recv := base(d.Recv.List[0].Type)
					for _, outer := range append(embedders[f.pkg+"."+recv], recv) {
						if ast.IsExported(outer) {
							add(outer+"."+d.Name.Name, d.Type)
						}
					}
				}
			case *ast.GenDecl:
				for _, s := range d.Specs {
					spec, ok := s.(*ast.TypeSpec)
					if !ok || !spec.Name.IsExported() {
						continue
					}
					if i, ok := spec.Type.(*ast.InterfaceType); ok {
						for _, m := range i.Methods.List {
							if typ, ok := m.Type.(*ast.FuncType); ok && m.Names[0].IsExported() {
								add(spec.Name.Name+"."+m.Names[0].Name, typ)
							}
						}
					}
				}
			}
		}
	}
	return waiting, exist
}

// public reports whether programs may import the file's package. Packages dsmimpltest and batchtest are for the
// tests of backends and drivers.
func public(f file) bool {
	if f.test() || f.ast.Name.Name == "main" || f.pkg == "dsmimpl/dsmimpltest" ||
		f.pkg == "batch/batchtest" {
		return false
	}
	for _, part := range strings.Split(f.pkg, "/") {
		if part == "internal" || part == "cmd" || part == "examples" {
			return false
		}
	}
	return true
}

// takesContext reports whether a function's own parameters name a context; those of a function that it takes don't count.
func takesContext(typ *ast.FuncType) bool {
	return slices.ContainsFunc(typ.Params.List, func(p *ast.Field) bool {
		s, ok := p.Type.(*ast.SelectorExpr)
		return ok && s.Sel.Name == "Context"
	})
}

// base is the name of a receiver's or an embedded field's type.
func base(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return base(e.X)
	case *ast.IndexExpr:
		return base(e.X)
	case *ast.IndexListExpr:
		return base(e.X)
	case *ast.Ident:
		return e.Name
	}
	return ""
}
