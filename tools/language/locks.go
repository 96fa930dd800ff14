package main

import (
	"go/ast"
	"regexp"
	"strings"
)

// heldByCaller finds a comment that says that the caller holds a lock.
var heldByCaller = regexp.MustCompile(`(?i)\bunder (the|its|his) lock\b|\b(called|runs) with the (\w+ )?lock held\b|\b(the )?caller (must )?holds? (the )?(\w+\.)?(mu|lock)\b`)

// implements finds a method whose name is an interface's, which says nothing of locks.
var implements = regexp.MustCompile(`^\w+ implements `)

// locks checks the rule that a function which runs under its caller's lock ends in Locked, and says which lock it is. One that
// takes another lock too says in its comment that this is "taken inside".
func (s *source) locks() (list []finding) {
	for _, d := range s.ast.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok || f.Body == nil {
			continue
		}
		name, doc := f.Name.Name, f.Doc.Text()
		locked := strings.HasSuffix(name, "Locked")
		switch {
		case strings.Contains(doc, okMark):
		case !locked && !f.Name.IsExported() && heldByCaller.MatchString(doc) && !takes(f.Body):
			list = append(list, s.at(f.Pos(), "locked", "%s runs under its caller's lock: its name must end in Locked", name))
		case locked && !regexp.MustCompile(`(?i)\b(lock|mutex|\w*mu)\b`).MatchString(strings.ReplaceAll(doc, name, "")):
			list = append(list, s.at(f.Pos(), "locked", "the comment of %s does not say which lock its caller holds", name))
		case locked && takesFirst(f.Body) && !strings.Contains(doc, "taken inside"):
			list = append(list, s.at(f.Pos(), "locked", "%s takes a lock itself, and its name says that its caller holds one", name))
		}
		if locked || takes(f.Body) || gives(f.Body) || implements.MatchString(doc) {
			continue
		}
		for _, call := range calls(f.Body) {
			if strings.HasSuffix(call, "Locked") && !strings.Contains(doc, okMark) {
				list = append(list, s.at(f.Pos(), "locked", "%s calls %s, and neither takes a lock nor ends in Locked", name, call))
				break
			}
		}
	}
	return list
}

// taking are the calls that take a lock.
var taking = regexp.MustCompile(`^(R?Lock|Try(R)?Lock|lock|rlock|enter|begin|turn|withPartSoon|section|acquire\w*|lock[A-Z]\w*|\w*[wW]ith\w*Lock|try[A-Z]\w*)$`)

// takes reports whether a body takes a lock anywhere.
func takes(body *ast.BlockStmt) bool {
	for _, c := range calls(body) {
		if taking.MatchString(c) {
			return true
		}
	}
	return false
}

// gives reports whether a body gives a lock back, which it then holds from its beginning if it takes none.
func gives(body *ast.BlockStmt) bool {
	for _, c := range calls(body) {
		switch c {
		case "Unlock", "RUnlock", "unlock":
			return true
		}
	}
	return false
}

// takesFirst reports whether a body takes a mutex before it has given one back.
func takesFirst(body *ast.BlockStmt) bool {
	for _, c := range calls(body) {
		switch c {
		case "Lock":
			return true
		case "Unlock":
			return false
		}
	}
	return false
}

// calls returns the names of the functions that a body calls, in the order of the source.
func calls(body *ast.BlockStmt) (names []string) {
	ast.Inspect(body, func(n ast.Node) bool {
		if c, ok := n.(*ast.CallExpr); ok {
			switch fun := c.Fun.(type) {
			case *ast.SelectorExpr:
				names = append(names, fun.Sel.Name)
			case *ast.Ident:
				names = append(names, fun.Name)
			}
		}
		return true
	})
	return names
}
