//go:build unix

package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/godsm/godsm/cmd/dsmdemo/chaos"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/internal/testing/proctest"
)

// crash runs a short chaos run. Standard input is not its business.
func crash(p place, args ...string) (r chaos.Result, stdout, stderr string, status int) {
	p.t.Helper()
	cmd := p.command(append([]string{"crash", "--json", "--workers", "4", "--seed", "1"}, args...)...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	status = proctest.ExitCode(cmd.Run())
	_ = json.Unmarshal(out.Bytes(), &r)
	return r, out.String(), errs.String(), status
}

// TestCrash is the short form of the chaos run; the long one is: dsmdemo crash --seconds 120.
func TestCrash(t *testing.T) {
	instancetest.Each(t, func(t *testing.T, backend string) {
		p := newPlace(t)
		r, out, errs, status := crash(p, "--seconds", "2.5", "-c", "dynamic_shared_memory_type="+backend)
		if status != 0 || !r.Well() {
			t.Fatalf("status %d: %s%s", status, out, errs)
		}
		if r.Kills == 0 || r.SupervisorKills == 0 || r.Reclaims == 0 || r.Operations == 0 ||
			r.ReclaimMs.Max < r.ReclaimMs.P99 || r.ReclaimMs.P99 < r.ReclaimMs.P50 {
			t.Errorf("it tried nothing: %s", out)
		}
		parse[chaos.Result](t, out)
		for _, field := range []string{"kills", "supervisor_kills", "reclaims", "reclaim_ms", "p50", "p99", "max",
			"operations", "leaked_rows", "leaked_objects", "wrong_bytes", "stuck"} {
			if strings.Count(out, `"`+field+`":`) != 1 {
				t.Errorf("%s has no %s", out, field)
			}
		}
		t.Log(out)
	})
}

// TestCrashRestart: after each crash a generation ends under all sessions, and they join the next.
func TestCrashRestart(t *testing.T) {
	p := newPlace(t)
	r, out, errs, status := crash(p, "--seconds", "2", "--log-level", "error", "-c", "on_crash=restart")
	if status != 0 || r.Kills == 0 {
		t.Errorf("status %d: %s%s", status, out, errs)
	}
}

// TestCrashFindsOut: each of the four counts can be other than 0, and makes the command fail.
func TestCrashFindsOut(t *testing.T) {
	for sabotage, found := range map[string]func(chaos.Result) bool{
		"object": func(r chaos.Result) bool { return r.LeakedObjects == 1 },
		"row":    func(r chaos.Result) bool { return r.LeakedRows == 1 },
		"byte":   func(r chaos.Result) bool { return r.WrongBytes > 0 },
		"stuck":  func(r chaos.Result) bool { return r.Stuck > 0 },
	} {
		t.Run(sabotage, func(t *testing.T) {
			t.Parallel()
			seconds := "1"
			if sabotage == "stuck" {
				seconds = "6"
			}
			r, out, errs, status := crash(newPlace(t), "--seconds", seconds, "--sabotage", sabotage)
			if status != 1 || !found(r) || !strings.Contains(errs, "dsmdemo: --seed 1: ") {
				t.Errorf("status %d, %s%s", status, out, errs)
			}
		})
	}
}

func TestCrashRefuses(t *testing.T) {
	p := newPlace(t)
	p.fails(1, "nothing that could leak: dynamic shared memory is disabled", "crash", "-c",
		"dynamic_shared_memory_type=none")
	p.fails(2, "--workers takes 1 to 100", "crash", "--workers", "0")
	p.fails(2, "--seconds a number above 0", "crash", "--seconds", "-1")
}
