package archtest

import (
	"errors"
	"flag"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
)

var write = flag.Bool("write", false, "write the files testdata/api.txt instead of comparing them")

// TestAPI: the exported face of each package that programs may import is kept in its testdata/api.txt, so that it changes
// on purpose only.
func TestAPI(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("skipped: the files hold what Linux has")
	}
	var pkgs []string
	for _, f := range files(t) {
		if public(f) && f.pkg != "." && !slices.Contains(pkgs, f.pkg) {
			pkgs = append(pkgs, f.pkg)
		}
	}
	if len(pkgs) < 20 {
		t.Errorf("only %d packages were found", len(pkgs))
	}
	for _, pkg := range pkgs {
		t.Run(pkg, func(t *testing.T) {
			t.Parallel()
			ask := exec.Command("go", "doc", "-all", ".")
			ask.Dir = filepath.Join("../../..", pkg)
			got, err := ask.Output()
			if err != nil {
				t.Skipf("skipped: no go command to ask: %v", err)
			}
			name := filepath.Join(ask.Dir, "testdata", "api.txt")
			if *write {
				if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, got, 0o644)); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(name)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Fatal(err)
			}
			if string(got) != string(want) {
				t.Errorf("%s is not what go doc says; if that is meant: go test ./internal/testing/archtest -run API -write", name)
			}
		})
	}
}
