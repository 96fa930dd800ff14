package archtest

import (
	"fmt"
	"go/ast"
	"go/token"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// relays writes the events of workers, under the names that they have there.
const relays = "parallel.relayLog"

// commands are not the library: they log for people.
var commands = []string{"cmd/", "internal/command", "examples", "internal/testing/crashtest"}

// TestLogsAreDocumented: every event that the library logs has a name, and doc/logs.md has a row for it with the fields that the
// source gives it, and for nothing else.
func TestLogsAreDocumented(t *testing.T) {
	found := map[string][]string{} // by event: level, fields
	for _, f := range files(t) {
		if f.test() || slices.ContainsFunc(commands, func(p string) bool { return strings.HasPrefix(f.path, p) }) {
			continue
		}
		for _, d := range f.ast.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Body == nil {
				continue
			}
			ast.Inspect(fn.Body, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok || !(calls(call, "Msg") || calls(call, "Msgf") || calls(call, "Send")) {
					return true
				}
				level, event, fields, is := chain(call)
				switch {
				case !is && calls(call, "Msg") && f.pkg+"."+fn.Name.Name != relays:
					t.Errorf("%s: %s logs an event that is no single chain of calls, of which its fields can be read", f.path, fn.Name.Name)
				case !is:
				case event == "":
					t.Errorf("%s: %s logs without a name: .Str(\"event\", \"NAME\")", f.path, fn.Name.Name)
				default:
					found[event] = union(found[event], append([]string{level}, fields...))
				}
				return true
			})
		}
	}
	if len(found) < 40 {
		t.Fatalf("%d events in the source", len(found))
	}
	text, err := os.ReadFile("../../../doc/logs.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]string{}
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(line, "|")
		if name := strings.Trim(cells[min(1, len(cells)-1)], " `"); len(cells) == 6 && name != "event" && !strings.HasPrefix(name, "---") {
			rows[name] = strings.TrimSpace(cells[2]) + " | " + strings.TrimSpace(cells[3])
			if strings.TrimSpace(cells[4]) == "" {
				t.Errorf("doc/logs.md does not say what %s means", name)
			}
		}
	}
	for _, event := range slices.Sorted(maps.Keys(found)) {
		if want := row(found[event]); rows[event] != want {
			t.Errorf("doc/logs.md has %q for %s; the source has: | `%s` | %s |", rows[event], event, event, want)
		}
	}
	for event := range rows {
		if found[event] == nil {
			t.Errorf("doc/logs.md has a row for %s, which nothing logs", event)
		}
	}
}

// row is what the table has for an event: levels, then fields.
func row(list []string) string {
	var levels, fields []string
	for _, x := range list {
		if x[0] >= 'A' && x[0] <= 'Z' {
			levels = append(levels, strings.ToLower(x))
		} else {
			fields = append(fields, x)
		}
	}
	slices.Sort(fields)
	return strings.Join(levels, ", ") + " | " + strings.Join(fields, ", ")
}

func union(a, b []string) []string {
	for _, x := range b {
		if !slices.Contains(a, x) {
			a = append(a, x)
		}
	}
	return a
}

func calls(call *ast.CallExpr, name string) bool {
	s, ok := call.Fun.(*ast.SelectorExpr)
	return ok && s.Sel.Name == name
}

var levels = []string{"Trace", "Debug", "Info", "Warn", "Error"}

// chain reads log.Level().Type("field", ...)...Msg(...). It is not one if it does not begin with a level.
func chain(call *ast.CallExpr) (level, event string, fields []string, ok bool) {
	for {
		s, is := call.Fun.(*ast.SelectorExpr)
		if !is {
			return "", "", nil, false
		}
		inner, is := s.X.(*ast.CallExpr)
		switch name := s.Sel.Name; {
		case slices.Contains(levels, name) && len(call.Args) == 0:
			return name, event, fields, true
		case name == "Err":
			fields = append(fields, "error")
		case len(call.Args) == 2 && name != "Msgf":
			lit, isLit := call.Args[0].(*ast.BasicLit)
			if !isLit || lit.Kind != token.STRING {
				fields = append(fields, fmt.Sprintf("(%s of a variable name)", name))
				break
			}
			key, _ := strconv.Unquote(lit.Value)
			if key != "event" {
				fields = append(fields, key)
			} else if v, isLit := call.Args[1].(*ast.BasicLit); isLit {
				event, _ = strconv.Unquote(v.Value)
			}
		}
		if !is {
			return "", "", nil, false
		}
		call = inner
	}
}
