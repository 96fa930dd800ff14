//go:build unix

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/godsm/godsm/internal/testing/instancetest"
)

func TestJSON(t *testing.T) {
	p := newPlace(t)
	s := p.start("--json", "supervise")
	t.Cleanup(func() {
		_ = s.Cmd.Process.Signal(os.Interrupt)
		_ = s.Wait()
	})
	line, _ := s.Line()
	ready := parse[map[string]any](t, line+"\n")
	want := map[string]any{"event": "ready", "instance": instancetest.ID(t, p.dir).String(), "generation": 1.0,
		"backend": "posix", "dir": p.dir, "pid": float64(s.Pid)}
	if !reflect.DeepEqual(ready, want) {
		t.Errorf("ready %v, want %v", ready, want)
	}
	if got := strings.TrimSpace(p.ok("ls", "--json")); got != "[]" {
		t.Errorf("an empty ls is %s", got)
	}
	type created struct {
		Handle string `json:"handle"`
		Size   int    `json:"size"`
		OSName string `json:"os_name"`
	}
	c := parse[created](t, p.ok("create", "--json", "--pin", "hello"))
	if _, err := os.Stat(c.OSName); err != nil || c.Size != 5 || filepath.Dir(c.OSName) != "/dev/shm" ||
		!strings.HasSuffix(c.OSName, c.Handle) {
		t.Errorf("%+v: %v", c, err)
	}
	holder := p.start("--json", "create", "held")
	l, _ := holder.Line()
	held := parse[created](t, l+"\n")

	type segment struct {
		Handle     string           `json:"handle"`
		Size       int              `json:"size"`
		Refs       int              `json:"refs"`
		Pinned     bool             `json:"pinned"`
		State      string           `json:"state"`
		Backend    string           `json:"backend"`
		Reserved   bool             `json:"reserved"`
		OSName     string           `json:"os_name"`
		CreatorPid int              `json:"creator_pid"`
		AgeSeconds float64          `json:"age_seconds"`
		Holders    []map[string]any `json:"holders"`
	}
	type session struct {
		Session    string  `json:"session"`
		Pid        int     `json:"pid"`
		App        string  `json:"app"`
		State      string  `json:"state"`
		Segments   int     `json:"segments"`
		Bytes      int     `json:"bytes"`
		AgeSeconds float64 `json:"age_seconds"`
	}
	ps := parse[[]session](t, p.ok("ps", "--json"))
	ls := parse[[]segment](t, p.ok("--json", "ls"))
	if len(ls) != 2 || len(ps) != 1 {
		t.Fatalf("%+v, %+v", ls, ps)
	}
	a, b := ls[0], ls[1]
	if a.Handle != c.Handle || a.Refs != 1 || !a.Pinned || a.State != "live" || a.Backend != "posix" ||
		a.OSName != c.OSName || len(a.Holders) != 0 || a.Holders == nil {
		t.Errorf("%+v", a)
	}
	if b.Handle != held.Handle || b.Refs != 1 || b.Pinned || b.CreatorPid != holder.Pid || b.AgeSeconds < 0 ||
		!reflect.DeepEqual(b.Holders, []map[string]any{
			{"session": ps[0].Session, "pid": float64(holder.Pid), "app": "dsmdemo create"}}) {
		t.Errorf("%+v", b)
	}
	if len(ps) != 1 || ps[0].Pid != holder.Pid || ps[0].App != "dsmdemo create" || ps[0].State != "running" ||
		ps[0].Segments != 1 || ps[0].Bytes != 4 {
		t.Errorf("%+v", ps)
	}
	st := parse[map[string]any](t, p.ok("status", "--json"))
	for name, want := range map[string]any{"generation": 1.0, "backend": "posix",
		"supervisor_pid": float64(s.Pid), "sessions": 1.0, "max_processes": 20.0, "segments": 2.0,
		"max_segments": 200.0, "bytes": 9.0, "reserved": 0.0, "reserved_used": 0.0, "lock_holder": nil} {
		if st[name] != want {
			t.Errorf("status: %s is %v, want %v", name, st[name], want)
		}
	}
	read := parse[map[string]any](t, p.ok("read", c.Handle, "--json"))
	if read["base64"] != "aGVsbG8=" || read["size"] != 5.0 {
		t.Errorf("read: %v", read)
	}
	p.ok("unpin", c.Handle)
}

func TestTablesForPeople(t *testing.T) {
	p := newPlace(t)
	s := p.supervise()
	h := p.start("create", "x")
	handle := h.Expect("")
	for cmd, want := range map[string][]string{
		"ls": {"HANDLE", "IN THE SYSTEM", handle, "(dsmdemo create)", "/dev/shm/"},
		"ps": {"PID", "APPLICATION", "running", fmt.Sprint(h.Pid)},
		"status": {"generation    1", fmt.Sprintf("supervisor    process %d", s.Pid),
			"sessions      1 of 20", "control lock  free"},
		"show": {"max_processes", "environment DSM_MAX_PROCESSES", "shutdown_timeout"},
	} {
		out := p.ok(cmd)
		for _, w := range want {
			if !strings.Contains(out, w) {
				t.Errorf("%s does not show %q:\n%s", cmd, w, out)
			}
		}
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
}

func TestShow(t *testing.T) {
	p := newPlace(t)
	if err := os.Mkdir(p.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	conf := filepath.Join(p.dir, "dsm.conf")
	if err := os.WriteFile(conf, []byte("# ours\n\nmax_memory 64MB\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	type setting struct{ Name, Value, Unit, Default, Source, About string }
	for name, want := range map[string]setting{
		"max_memory":    {Value: "64MB", Unit: "B", Default: "0", Source: conf + ":3"},
		"MAX_PROCESSES": {Value: "20", Unit: "sessions", Default: "256", Source: "environment DSM_MAX_PROCESSES"},
		"on_crash":      {Value: "restart", Default: "reclaim", Source: "program"},
	} {
		got := parse[setting](t, p.ok("show", name, "--json", "-c", "on_crash=restart"))
		want.Name, want.About = strings.ToLower(name), got.About
		if got != want {
			t.Errorf("show %s: %+v, want %+v", name, got, want)
		}
	}
	all := parse[[]setting](t, p.ok("show", "--json"))
	if !slices.ContainsFunc(all, func(s setting) bool {
		return s.Name == "dynamic_shared_memory_type" && s.Value == "posix"
	}) {
		t.Errorf("%+v", all)
	}
	p.fails(1, `there is no setting "nonsense"`, "show", "nonsense")
	if err := os.WriteFile(conf, []byte("max_memory lots\nmax_segments none\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p.fails(2, conf+`:1: max_memory = "lots" is not a size`, "show")
}
