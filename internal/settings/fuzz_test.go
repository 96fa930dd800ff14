package settings

import (
	"encoding/json"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// FuzzConf: a file is either refused, by file and line, or its values stand for themselves: said
// again as they are shown, they are the same.
func FuzzConf(f *testing.F) {
	f.Add("")
	f.Add("max_processes = 10 # ten\nmax_memory 64MB\r\nchecked='on'\n")
	f.Add("mmap_directory = 'it''s \\'here\\''\nshutdown_timeout = 1min\non_crash restart")
	f.Add("max_memory = 9000TB\nmax_memory_per_process = 1125899906842624\nshutdown_timeout = 24h")
	f.Add("max_segments = auto\nmax_processes = 2045\nmax_segments_per_process=0")
	f.Add("=\n'\nname\nname=\nname='x\nname=x y\n\x00=1")
	types := []string{"posix", "sysv", "mmap"}
	f.Add("mmap_directory = '/no\xfftext'\nmmap_directory = '\x00'")
	dir := filepath.Join(f.TempDir(), "none")
	f.Fuzz(func(t *testing.T, text string) {
		lines, err := parse("C", text)
		if err != nil {
			for fault := range strings.Lines(err.Error()) {
				if !strings.HasPrefix(fault, "C:") {
					t.Errorf("a fault without its place: %q", fault)
				}
			}
		}
		program := map[string]string{}
		for _, l := range lines {
			if l.name == "" || !strings.HasPrefix(l.where, "C:") {
				t.Fatalf("a line %+v", l)
			}
			quoted := l.name + " = '" + strings.NewReplacer("'", "''", `\`, `\\`).Replace(l.value) + "' # quoted"
			if again, err := parse("C", quoted); err != nil || len(again) != 1 || again[0].name != l.name ||
				again[0].value != l.value {
				t.Fatalf("%q in quotes is %q, %v", l.value, again, err)
			}
			program[l.name] = l.value
		}
		s, err := Load(dir, types, program)
		if err != nil {
			return
		}
		shown := map[string]string{}
		for _, x := range s.List {
			shown[x.Name] = x.Value
		}
		b, _ := json.Marshal(shown) // as the file instance keeps them
		if err := json.Unmarshal(b, &shown); err != nil {
			t.Fatal(err)
		}
		again, err := Load(dir, types, shown)
		if err != nil {
			t.Fatalf("%v: shown as %v: %v", program, shown, err)
		}
		if again.Values != s.Values || !slices.EqualFunc(again.List, s.List, func(a, b Setting) bool {
			return a.Value == b.Value
		}) {
			t.Errorf("%v: %+v, shown as %v it is %+v", slices.Sorted(maps.Keys(program)), s.Values, shown, again.Values)
		}
	})
}
