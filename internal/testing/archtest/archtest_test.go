package archtest

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// rules say what each package may import of ours. A name that ends in /... means the packages below it, and "words" are
// internal/errkind, internal/excerpt and internal/failpoint, which import nothing of ours. internal/sys is the operating system and the
// processor; internal/testing is for tests alone. Tests may import anything.
const rules = `
dsmimpl                        words
dsmimpl/posix                  dsmimpl dsmimpl/internal/... internal/bytesize internal/sys/... words
dsmimpl/sysv                   dsmimpl dsmimpl/internal/... internal/sys/... words
dsmimpl/mmapfile               dsmimpl dsmimpl/internal/... internal/bytesize internal/sys/... words
dsmimpl/windows                dsmimpl dsmimpl/internal/... words
dsmimpl/none                   dsmimpl dsmimpl/internal/... words
internal/catalog               dsmimpl dsmimpl/...
dsmimpl/dsmimpltest            dsmimpl internal/testing/leaktest words
shm                            internal/callback words
shm/...                        shm shm/shmsync internal/bytesize internal/callback internal/eviction internal/hashing internal/onebit internal/scope internal/sys/... internal/waits words
shm/dshash                     shm shm/shmsync shm/dsa internal/bytesize internal/hashing internal/sys/... words
shm/roster                     shm shm/shmsync shm/dsa words
shm/waitqueue
control                        shm shm/shmsync internal/sys/... words
resowner                       internal/leaksite internal/sys/... words
dsm                            dsmimpl control resowner shm shm/shmsync internal/instance internal/callback internal/leaksite internal/scope internal/settings internal/sys/... internal/waits words
supervisor                     dsmimpl control dsm shm/shmsync internal/instance internal/settings internal/sys/... words
parallel                       dsm resowner shm shm/... internal/sys/... words
area                           dsm resowner shm shm/dsa
registry                       area dsm resowner shm shm/dsa shm/dshash shm/shmsync internal/waits words
cache                          dsm registry resowner shm shm/logcache shm/shmsync internal/sys/... words
locktable                      dsm registry resowner shm shm/dsa shm/roster shm/shmsync shm/waitqueue internal/hashing internal/scope internal/sys/... words
dsmnet                         dsm registry resowner shm shm/mq shm/shmsync internal/onebit internal/sys/... internal/waits words
dsmlog
batch
batch/batchtest                batch
batch/shared                   batch dsm registry shm shm/shmsync internal/sys/... words
internal/instance              dsmimpl internal/catalog control shm internal/bytesize internal/settings internal/sys/... words
internal/eviction
internal/survey                batch/shared cache dsm locktable registry shm shm/... internal/sys/... words
internal/metrics               batch/shared cache dsm internal/survey words
internal/web                   batch/shared cache dsm locktable internal/metrics internal/survey words
internal/command/doctor        dsm dsmimpl control shm internal/instance internal/bytesize internal/settings internal/sys/... words
internal/testing/proctest      shm/shmsync internal/sys/... words
internal/testing/swaptest      shm shm/dsa shm/shmsync words
internal/testing/instancetest  dsm internal/catalog supervisor internal/objectlist internal/sys/... internal/testing/proctest words
internal/testing/viewtest      shm words
internal/command               internal/command/...
internal/command/...           area cache locktable batch/shared registry dsm resowner shm shm/... supervisor internal/instance internal/bytesize internal/command/... internal/settings internal/survey internal/sys/... internal/trace internal/web words
cmd/...                        area cache locktable batch/shared registry dsm dsmimpl parallel resowner shm shm/... supervisor cmd/... internal/instance internal/bytesize internal/command internal/command/... internal/objectlist words
cmd/dsmdemo/chaos              cmd/dsmdemo/child control dsm shm shm/shmsync internal/instance internal/objectlist internal/sys/... words
internal/sys/...               internal/sys/... words
dsmimpl/internal/...           dsmimpl words
internal/bytesize              words
internal/callback              words
internal/errkind               words
internal/excerpt
internal/failpoint             words
internal/hashing               words
internal/leaksite
internal/onebit                words
internal/objectlist             dsmimpl internal/sys/... words
internal/scope                 internal/sys/... words
internal/settings              internal/bytesize internal/sys/... words
internal/testing/archtest      words
internal/testing/crashtest     words
internal/testing/endtest       words
internal/testing/layouttest    words
internal/testing/leaktest      internal/objectlist words
internal/testing/pgtest        words
internal/testing/recipes       words
internal/testing/tape          words
internal/testing/tracetest     internal/trace words
internal/trace                 words
internal/waits                 words
`

// words are what nearly every package may import.
var words = []string{"internal/errkind", "internal/excerpt", "internal/failpoint"}

// thirdParty are the modules that the library may use; the command may use more.
var thirdParty = []string{"golang.org/x/sys", "github.com/google/uuid", "github.com/rs/zerolog"}

// forTests is what its tests may use besides.
var forTests = []string{"golang.org/x/net/nettest"}

const module = "github.com/godsm/godsm"

type file struct {
	path, pkg string // from the module's root
	ast       *ast.File
	imports   []string
}

func (f file) test() bool { return strings.HasSuffix(f.path, "_test.go") }

func (f file) uses(path string) bool { return slices.Contains(f.imports, path) }

func files(t *testing.T) (list []file) {
	t.Helper()
	root, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || nested(path)) {
			return filepath.SkipDir
		}
		if filepath.Ext(path) != ".go" {
			return nil
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, path)
		f := file{path: filepath.ToSlash(rel), pkg: filepath.ToSlash(filepath.Dir(rel)), ast: parsed}
		for _, i := range parsed.Imports {
			p, _ := strconv.Unquote(i.Path.Value)
			f.imports = append(f.imports, p)
		}
		list = append(list, f)
		return nil
	})
	if err != nil || len(list) < 50 {
		t.Fatalf("%d files, %v", len(list), err)
	}
	return list
}

// nested reports whether a folder is a module of its own.
func nested(dir string) bool {
	m, _ := filepath.Glob(filepath.Join(dir, "go.mod"))
	return len(m) > 0
}

// allowed finds the rule for a package, the most exact one.
func allowed(pkg string) (names []string, ok bool) {
	best := -1
	for line := range strings.Lines(strings.TrimSpace(rules)) {
		f := strings.Fields(line)
		if f[0] == pkg {
			return f[1:], true
		}
		if within(pkg, f[0]) && len(f[0]) > best {
			best, names, ok = len(f[0]), f[1:], true
		}
	}
	return names, ok
}

// within reports whether pkg is meant by a pattern that ends in /...
func within(pkg, pattern string) bool {
	prefix, ok := strings.CutSuffix(pattern, "...")
	return ok && strings.HasPrefix(pkg, prefix)
}

// isCommand reports whether a package is a part of the commands, not of the library.
func isCommand(pkg string) bool {
	return pkg == "internal/command" || strings.HasPrefix(pkg, "internal/command/")
}

func TestWhoImportsWhom(t *testing.T) {
	for _, f := range files(t) {
		if f.test() || f.pkg == "." || strings.HasPrefix(f.pkg, "examples") {
			continue
		}
		names, ok := allowed(f.pkg)
		if !ok {
			t.Errorf("%s: there is no rule for this package", f.pkg)
			continue
		}
		for _, path := range f.imports {
			ours, is := strings.CutPrefix(path, module+"/")
			if !is {
				continue
			}
			if !slices.ContainsFunc(names, func(n string) bool {
				return n == ours || within(ours, n) ||
					n == "words" && slices.Contains(words, ours) &&
						(!isCommand(ours) || isCommand(f.pkg) || strings.HasPrefix(f.pkg, "cmd/"))
			}) {
				t.Errorf("%s imports %s; %s may import %v", f.path, ours, f.pkg, names)
			}
		}
	}
}

func TestThirdParties(t *testing.T) {
	for _, f := range files(t) {
		if strings.HasPrefix(f.pkg, "cmd/") || isCommand(f.pkg) {
			continue
		}
		for _, path := range f.imports {
			first, _, _ := strings.Cut(path, "/")
			if f.test() && slices.Contains(forTests, path) {
				continue
			}
			if strings.Contains(first, ".") && !strings.HasPrefix(path, module) &&
				!slices.ContainsFunc(thirdParty, func(m string) bool {
					return path == m || strings.HasPrefix(path, m+"/")
				}) {
				t.Errorf("%s imports %s: the library stays lean", f.path, path)
			}
		}
	}
}

// observers are the packages that look at all that an instance has, for the command and the collector of metrics.
var observers = map[string]bool{"internal/survey": true, "internal/metrics": true, "internal/web": true}

// TestBatchNeedsNothing: package batch knows neither databases nor shared memory, so that it imports the standard library
// alone; and no package of the library but batch/shared, the observers, and the test of all ends, knows it.
func TestBatchNeedsNothing(t *testing.T) {
	for _, f := range files(t) {
		batch := f.pkg == "batch" || f.pkg == "batch/batchtest"
		for _, path := range f.imports {
			first, _, _ := strings.Cut(path, "/")
			switch {
			case batch && !f.test() && (strings.Contains(first, ".") && !strings.HasPrefix(path, module+"/batch") || path == "database/sql"):
				t.Errorf("%s imports %s: package batch stands on the standard library alone, and knows no SQL", f.path, path)
			case !batch && f.pkg != "batch/shared" && f.pkg != "internal/testing/endtest" && !observers[f.pkg] && !strings.HasPrefix(f.pkg, "cmd/") && !isCommand(f.pkg) &&
				strings.HasPrefix(path, module+"/batch"):
				t.Errorf("%s imports %s: nothing here stands on package batch", f.path, path)
			}
		}
	}
}

func TestPlaces(t *testing.T) {
	in := func(f file, places ...string) bool {
		return slices.ContainsFunc(places, func(p string) bool { return f.pkg == p || strings.HasPrefix(f.pkg, p+"/") })
	}
	for _, f := range files(t) {
		if f.uses("unsafe") && !strings.HasSuffix(f.path, "_unsafe.go") && !f.test() {
			t.Errorf("%s uses unsafe: only files named *_unsafe.go do", f.path)
		}
		if f.uses("C") {
			t.Errorf("%s uses cgo", f.path)
		}
		if f.test() {
			continue
		}
		system := func(path string) bool { return strings.HasPrefix(path, "golang.org/x/sys") }
		if slices.ContainsFunc(f.imports, system) && !in(f, "dsmimpl", "internal") {
			t.Errorf("%s imports golang.org/x/sys: only backends and internal packages do", f.path)
		}
		if f.uses("os/exec") && !in(f, "parallel", "supervisor", "internal/testing/pgtest", "internal/testing/proctest", "internal/trace", "cmd", "examples") {
			t.Errorf("%s starts processes", f.path)
		}
		for _, word := range []string{"util", "utils", "common", "helpers", "types", "misc"} {
			if filepath.Base(f.pkg) == word {
				t.Errorf("package %s: a line with no room of its own has found a missing noun", f.pkg)
			}
		}
	}
}

// TestNoFileIsTooLong: a file of more than 400 lines holds two nouns.
func TestNoFileIsTooLong(t *testing.T) {
	for _, f := range files(t) {
		if strings.HasPrefix(f.pkg, "examples") {
			continue
		}
		text, err := os.ReadFile(filepath.Join("../../..", f.path))
		if err != nil {
			t.Fatal(err)
		}
		if lines := bytes.Count(text, []byte("\n")); lines > 400 {
			t.Errorf("%s has %d lines, at most 400: look for the missing noun", f.path, lines)
		}
	}
}

func TestEveryPackageSaysWhatItIsFor(t *testing.T) {
	docs := map[string]bool{}
	for _, f := range files(t) {
		if f.test() {
			continue
		}
		name := f.ast.Name.Name
		want := "Package " + name + " "
		if name == "main" {
			want = "Command "
		}
		docs[f.pkg] = docs[f.pkg] || strings.HasPrefix(f.ast.Doc.Text(), want)
	}
	for pkg, ok := range docs {
		if !ok {
			t.Errorf("%s has no package comment", pkg)
		}
	}
}
