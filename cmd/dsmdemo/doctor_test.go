//go:build linux

package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/godsm/godsm/internal/command/doctor"
	"github.com/godsm/godsm/internal/objectlist"
	"github.com/godsm/godsm/internal/testing/instancetest"
)

// doctor runs the command and checks its form: keys, exit status, the table for people.
func (p place) doctor(args ...string) map[string]doctor.Finding {
	p.t.Helper()
	out, errs, status := p.run("", append([]string{"doctor", "--json"}, args...)...)
	list := parse[[]doctor.Finding](p.t, out)
	bites := slices.ContainsFunc(list, func(f doctor.Finding) bool { return f.Status == doctor.Bites })
	if want := map[bool]int{true: 1, false: 0}[bites]; status != want || bites == (errs == "") {
		p.t.Errorf("status %d, stderr %q of %s", status, errs, out)
	}
	found := map[string]doctor.Finding{}
	for _, f := range list {
		if f.Check == "" || f.Found == "" || !slices.Contains([]doctor.Status{doctor.OK, doctor.Note, doctor.Bites},
			f.Status) {
			p.t.Errorf("%+v", f)
		}
		found[f.Check] = f
	}
	for _, key := range []string{`"check"`, `"status"`, `"found"`, `"means"`, `"cure"`} {
		if strings.Count(out, key) < len(list) {
			p.t.Errorf("%s is missing in %s", key, out)
		}
	}
	text, _, _ := p.run("", append([]string{"doctor"}, args...)...)
	for check := range found {
		if !strings.Contains(text, " "+check+" ") {
			p.t.Errorf("for people there is no %s in %s", check, text)
		}
	}
	return found
}

func TestDoctor(t *testing.T) {
	instancetest.Each(t, func(t *testing.T, backend string) {
		p := newPlace(t)
		s := p.supervise("-c", "dynamic_shared_memory_type="+backend)
		for _, check := range []string{"settings", "shm_mount", "remove_ipc", "sysv_limits", "namespaces",
			"protected_regular", "overcommit", "map_count", "memory_cgroup", "rlimit_nofile", "directory",
			"directory_files", "instance", "leftovers", "stuck_rows", "segment_rows", "private_leftovers", "unknown_objects"} {
			if _, ok := p.doctor()[check]; !ok {
				t.Errorf("%s is not checked", check)
			}
		}
		h := p.start("create", "--size", "5000")
		handle, _ := h.Line()
		if f := p.doctor()["instance"]; f.Status != doctor.OK || !strings.Contains(f.Found, "with 1 sessions") {
			t.Errorf("%+v of %s", f, handle)
		}
		s.Kill()
		if f := p.doctor()["instance"]; f.Status != doctor.Note || f.Cure != "dsmctl supervise --dir "+p.dir {
			t.Errorf("%+v", f)
		}
		h.Kill()
		objects := func() []string { return objectlist.Objects(instancetest.Lives(t, p.dir), filepath.Join(p.dir, "mmap")) }
		before := objects()
		f := p.doctor()["leftovers"]
		if f.Status != doctor.Bites || f.Cure != "dsmctl clean --dir "+p.dir {
			t.Errorf("%+v", f)
		}
		if after := objects(); len(before) != 2 || !slices.Equal(before, after) {
			t.Errorf("a look changed %v to %v", before, after)
		}
		p.ok("clean")
		if f := p.doctor()["leftovers"]; f.Status != doctor.OK {
			t.Errorf("after the cure: %+v", f)
		}
	})
}

func TestDoctorLeavesPrivateInstances(t *testing.T) {
	p := newPlace(t)
	s := p.start("supervise", "--private")
	s.Expect("ready: ")
	private, _ := filepath.Glob(filepath.Join(filepath.Dir(p.dir), "dsm-private", "*"))
	if len(private) != 1 {
		t.Fatalf("%v", private)
	}
	if f := p.doctor()["private_leftovers"]; f.Status != doctor.OK ||
		!strings.Contains(f.Found, "1 private instances live") {
		t.Errorf("%+v", f)
	}
	s.Kill()
	if f := p.doctor()["private_leftovers"]; f.Status != doctor.Note ||
		!strings.Contains(f.Found, private[0]+" (1 objects)") || f.Cure != "dsmctl clean" {
		t.Errorf("%+v", f)
	}
	if _, err := os.Stat(private[0]); err != nil {
		t.Errorf("a look removed it: %v", err)
	}
	p.ok("clean")
	if f := p.doctor()["private_leftovers"]; f.Status != doctor.OK {
		t.Errorf("after the cure: %+v", f)
	}
}

func TestDoctorSeesBadSettings(t *testing.T) {
	p := newPlace(t)
	if f := p.doctor("-c", "max_memory=lots")["settings"]; f.Status != doctor.Bites ||
		!strings.Contains(f.Found, "max_memory") {
		t.Errorf("%+v", f)
	}
	if _, err := os.Stat(p.dir); err == nil {
		t.Error("a look made the directory")
	}
}

// TestStatusWarnsOfRows: status and doctor say when few segments are left.
func TestStatusWarnsOfRows(t *testing.T) {
	p := newPlace(t)
	p.env = append(p.env, "DSM_MAX_SEGMENTS=10")
	p.supervise()
	const warning = "few are left"
	for range 8 {
		p.ok("create", "--pin", "x")
	}
	if out := p.ok("status"); strings.Contains(out, warning) || !strings.Contains(out, "8 of 10") {
		t.Errorf("status:\n%s", out)
	}
	p.ok("create", "--pin", "x")
	p.ok("create", "--pin", "x")
	if out := p.ok("status"); !strings.Contains(out, "10 of 10: "+warning) {
		t.Errorf("status:\n%s", out)
	}
	if f := p.doctor()["segment_rows"]; f.Status != doctor.Bites || !strings.Contains(f.Cure, "max_segments") {
		t.Errorf("%+v", f)
	}
}
