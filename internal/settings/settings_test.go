package settings

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

func load(t *testing.T, conf string, prog map[string]string) (*Settings, error) {
	t.Helper()
	dir := t.TempDir()
	if conf != "" {
		if err := os.WriteFile(filepath.Join(dir, "dsm.conf"), []byte(conf), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return Load(dir, []string{"posix", "sysv"}, prog)
}

func TestDefaults(t *testing.T) {
	s, err := load(t, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	if s.DynamicSharedMemoryType != "posix" || s.MaxProcesses != 256 || s.MaxSegments != 4096 || s.MaxMemory != 0 ||
		s.OnCrash != "reclaim" || s.ShutdownTimeout != 5*time.Second || s.Checked ||
		filepath.Base(s.MmapDirectory) != "mmap" || !filepath.IsAbs(s.MmapDirectory) {
		t.Errorf("%+v", s.Values)
	}
	if len(s.Stated()) != 0 {
		t.Errorf("stated: %v", s.Stated())
	}
	s, err = load(t, "", map[string]string{"max_processes": "2000"})
	if err != nil || s.MaxSegments != 64+5*2000 {
		t.Errorf("max_segments = %d, %v", s.MaxSegments, err)
	}
}

func TestLaterOnesWin(t *testing.T) {
	conf := "max_processes = 10\nmax_segments = 11\nmax_memory = 1kB\n"
	t.Setenv("DSM_MAX_SEGMENTS", "12")
	t.Setenv("DSM_MAX_MEMORY", "2 kB")
	s, err := load(t, conf, map[string]string{"max_memory": "3kB"})
	if err != nil {
		t.Fatal(err)
	}
	if s.MaxProcesses != 10 || s.MaxSegments != 12 || s.MaxMemory != 3<<10 {
		t.Errorf("%+v", s.Values)
	}
	for name, want := range map[string]string{"max_processes": "dsm.conf:1",
		"max_segments": "environment DSM_MAX_SEGMENTS", "max_memory": "program"} {
		for _, x := range s.List {
			if x.Name == name && !strings.HasSuffix(x.Source, want) {
				t.Errorf("%s comes from %q, want %q", name, x.Source, want)
			}
		}
	}
	if got := s.Stated(); len(got) != 2 {
		t.Errorf("stated: %v", got)
	}
}

func TestGrammar(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"mmap_directory = '/a b/c'", "/a b/c"},
		{"mmap_directory '/x''y'", "/x'y"},
		{`mmap_directory='/x\'y'`, "/x'y"},
		{"  mmap_directory\t/plain-path.d/x # why", "/plain-path.d/x"},
		{"MMAP_Directory = /x\r", "/x"},
		{"# only this\n\n mmap_directory=/first\nmmap_directory=/second#", "/second"},
		{"mmap_directory = '/a#b'", "/a#b"},
	} {
		s, err := load(t, c.text, nil)
		want := filepath.FromSlash(c.want) // which is absolute but on Windows, where it has no drive
		if err != nil || s.MmapDirectory != want &&
			(runtime.GOOS != "windows" || !strings.HasSuffix(s.MmapDirectory, want)) {
			t.Errorf("%q: %v, %v", c.text, s, err)
		}
	}
}

func TestUnits(t *testing.T) {
	for text, want := range map[string]uint64{"0": 0, "7": 7, "7B": 7, "64kB": 64 << 10,
		"'1 GB'": 1 << 30, "2TB": 2 << 40} {
		s, err := load(t, "max_memory = "+text, nil)
		if err != nil || s.MaxMemory != want {
			t.Errorf("max_memory = %s: %v, %v", text, s, err)
		}
	}
	for text, want := range map[string]time.Duration{"0": 0, "7": 7 * time.Second, "1500ms": 1500 * time.Millisecond,
		"2min": 2 * time.Minute} {
		s, err := load(t, "shutdown_timeout = "+text, nil)
		if err != nil || s.ShutdownTimeout != want {
			t.Errorf("shutdown_timeout = %s: %v, %v", text, s, err)
		}
	}
}

func TestShownValuesCanBeSet(t *testing.T) {
	s, err := load(t, "max_memory=1000000001\nmax_memory_per_process=64MB\nshutdown_timeout=1500ms\n"+
		"checked=yes\non_crash=restart", nil)
	if err != nil {
		t.Fatal(err)
	}
	again := map[string]string{}
	for _, x := range s.List {
		again[x.Name] = x.Value
	}
	u, err := load(t, "", again)
	if err != nil || u.Values != s.Values {
		t.Errorf("%+v, %v, want %+v", u, err, s.Values)
	}
}

func TestFaultsAreReportedTogether(t *testing.T) {
	t.Setenv("DSM_CHECKED", "maybe")
	_, err := load(t, "max_processes = many\nnonsense = 1\n= 5\nmax_segments = 70000\nmmap_directory = 'open\n"+
		"on_crash = explode\nmax_memory = 5XB\nmax_memory_per_process = 9000000TB\nshutdown_timeout = 25h\n"+
		"max_segments_per_process = 1 2\ndynamic_shared_memory_type = turbo",
		map[string]string{"max_proceses": "4"})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		"dsm.conf:1: max_processes = \"many\" is not a whole number; it takes a number from 1 to 2045",
		"dsm.conf:2: there is no setting \"nonsense\"; there are dynamic_shared_memory_type, ",
		"dsm.conf:3: \"= 5\" does not begin with a name",
		"dsm.conf:4: max_segments = \"70000\" is out of range",
		"dsm.conf:5: the quote is not closed",
		"dsm.conf:6: on_crash = \"explode\" is not known; it takes reclaim or restart",
		"dsm.conf:7: max_memory = \"5XB\" is in the unknown unit \"XB\"",
		"dsm.conf:8: max_memory_per_process = \"9000000TB\" is too large",
		"dsm.conf:9: shutdown_timeout = \"25h\" is too long",
		"dsm.conf:10: \"2\" follows the value of max_segments_per_process",
		"dsm.conf:11: dynamic_shared_memory_type = \"turbo\" is not known; it takes posix, sysv",
		"environment DSM_CHECKED: checked = \"maybe\" is neither on nor off",
		"program: there is no setting \"max_proceses\"",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q:\n%v", want, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"a = b", "a 'x''y' # c", "=", "a='", "a=\\", "'", "é = ü", "a=b c", "\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		lines, err := parse("f", text)
		if err == nil && len(lines) > strings.Count(text, "\n")+1 {
			t.Error("more settings than lines")
		}
	})
}
