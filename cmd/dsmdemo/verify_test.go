//go:build unix

package main

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/godsm/godsm/area"
	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/registry"
	"github.com/godsm/godsm/shm/dsa"
	"github.com/godsm/godsm/shm/dshash"
)

// TestNames: ls shows what has a name, and verify walks it.
func TestNames(t *testing.T) {
	p := newPlace(t)
	p.supervise()
	if got := strings.TrimSpace(p.ok("verify", "--json")); got != "[]" {
		t.Errorf("verify without names: %s", got)
	}
	if got := strings.TrimSpace(p.ok("ls", "--json")); got != "[]" {
		t.Errorf("looking has made something: %s", got)
	}
	ctx, s := t.Context(), instancetest.Open(t, dsm.Config{Dir: p.dir})
	if _, err := registry.Segment[int64](ctx, s, "hits", nil); err != nil {
		t.Fatal(err)
	}
	a, err := registry.Area(ctx, s, "jobs", dsa.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Alloc(100); err != nil {
		t.Fatal(err)
	}
	kinds := map[string]string{}
	for _, x := range parse[[]segmentRow](t, p.ok("ls", "--json")) {
		kinds[x.Name] = x.Kind + x.Type
		if x.Name == "jobs" && x.Handle != area.Handle(a) {
			t.Errorf("%+v", x)
		}
	}
	if len(kinds) != 3 || kinds["hits"] != "segmentint64" || kinds["jobs"] != "area" || kinds[""] != "names" {
		t.Errorf("%v", kinds)
	}
	if out := p.ok("ls"); !strings.Contains(out, " hits ") || !strings.Contains(out, " jobs (area) ") ||
		!strings.Contains(out, " (names) ") {
		t.Errorf("ls:\n%s", out)
	}

	rows := parse[[]verifyRow](t, p.ok("verify", "--json"))
	if len(rows) != 1 || rows[0].Name != "jobs" || rows[0].Objects != 1 || rows[0].Stragglers != 1 || rows[0].Sessions != 1 ||
		rows[0].Problems == nil || len(rows[0].Problems) != 0 ||
		rows[0].Bytes != a.Total() || rows[0].Used+rows[0].Free+rows[0].Overhead != rows[0].Bytes {
		t.Errorf("%+v", rows)
	}
	if out := p.ok("verify", "jobs"); !strings.Contains(out, "PROBLEMS") || !strings.Contains(out, "jobs  area") {
		t.Errorf("verify:\n%s", out)
	}
	users, err := registry.Hash[int64, int64](ctx, s, "users", dshash.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range int64(1000) {
		if err := users.Set(ctx, i, i); err != nil {
			t.Fatal(err)
		}
	}
	if rows := parse[[]verifyRow](t, p.ok("verify", "users", "--json")); len(rows) != 1 || rows[0].Kind != "hash" ||
		rows[0].Entries != 1000 || len(rows[0].Problems) != 0 {
		t.Errorf("%+v", rows)
	}
	p.fails(1, `no area or hash table with the name "hits"`, "verify", "hits")

	g, err := s.Attach(ctx, s.Owner(), area.Handle(a))
	if err != nil {
		t.Fatal(err)
	}
	total := g.Bytes()[56:64] // of the area's header
	binary.NativeEndian.PutUint64(total, binary.NativeEndian.Uint64(total)+8)
	if out, stderr, status := p.run("", "verify"); status != 1 || !strings.Contains(out, "jobs: the header counts") ||
		!strings.Contains(stderr, "something is wrong") {
		t.Errorf("verify: status %d, %s%s", status, out, stderr)
	}
}
