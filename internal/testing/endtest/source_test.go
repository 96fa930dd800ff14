package endtest

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"path/filepath"
	"strings"
)

// declarations calls f for each declaration in the source of the packages, without their tests. Pkg is a package's last name.
func declarations(packages []string, f func(pkg string, d ast.Decl)) error {
	for _, pkg := range packages {
		files, err := filepath.Glob(filepath.Join("../../..", filepath.FromSlash(pkg), "*.go"))
		if err != nil || len(files) == 0 {
			return fmt.Errorf("%s: %d files, %w", pkg, len(files), err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			for _, d := range parsed.Decls {
				f(path.Base(pkg), d)
			}
		}
	}
	return nil
}
