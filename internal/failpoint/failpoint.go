// Package failpoint marks the places where a process may die, be held up or be refused by the system: between any two
// stores or calls that others could see one without the other. In an ordinary build it is nothing. Built
// with the tag failpoint, a test arms a point of a process and looks at what the others make of it:
//
//	DSM_FAILPOINT='control/create/intended=kill' ./program
//
// The plan is a list, separated by commas, of POINT[#N]=ACTION: at the Nth time (the first) that this process
// comes to the point it does ACTION: kill (SIGKILL), exit, stop (SIGSTOP; a process continues or kills it), or fails
// with a system error, ENOSPC say, where the point is an Err. Times at which an earlier part of the plan has acted do
// not count. With trace=FILE in it the process appends the points that it comes to, each once, to that file.
//
// The source is the register of points: Points reads it. Each name stands in one place.
package failpoint

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Points lists the points in the source tree at root, sorted. A name that stands twice is an error.
func Points(root string) (points []string, err error) {
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
			return err
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			if name, ok := pointOf(n); ok {
				if slices.Contains(points, name) {
					err = fmt.Errorf("%s: the point %s stands in two places", path, name)
				}
				points = append(points, name)
			}
			return true
		})
		return err
	})
	slices.Sort(points)
	return points, err
}

// pointOf returns the point that n marks, if it is a call of Hit or Err.
func pointOf(n ast.Node) (name string, ok bool) {
	call, ok := n.(*ast.CallExpr)
	if !ok || len(call.Args) != 1 {
		return "", false
	}
	f, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || f.Sel.Name != "Hit" && f.Sel.Name != "Err" {
		return "", false
	}
	pkg, ok := f.X.(*ast.Ident)
	if !ok || pkg.Name != "failpoint" {
		return "", false
	}
	lit, ok := call.Args[0].(*ast.BasicLit)
	if !ok {
		return "", false
	}
	name, err := strconv.Unquote(lit.Value)
	return name, err == nil
}
