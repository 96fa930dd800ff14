package render

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/godsm/godsm/bench/figure"
	"github.com/godsm/godsm/bench/machine"
)

var yes, no = true, false

var about = machine.About{Date: "2031-05-06 07:08 UTC", CPU: "a CPU & <more>",
	CPUs: 2, Repeats: 7, Took: "5m0s", Waited: "3s",
	Rivals: map[string]string{"PostgreSQL": "15.1", "Boost": "no Boost | apt-get install libboost-dev"}}

var results = []figure.Result{
	{Part: "segments", Shape: "create+detach 4 KiB, posix", Rival: "godsm",
		NsPerOp: 15000, Min: 14000, Max: 19000, Repeats: 7},
	{Part: "segments", Shape: "create+detach 4 KiB, posix", Rival: "PostgreSQL 15", NsPerOp: 16000, Min: 15500,
		Max: 17000, Repeats: 7, Ratio: 0.94, Goal: "at most 1 x", Met: &yes},
	{Part: "segments", Shape: "create+detach 4 KiB, posix", Rival: "Boost",
		Skipped: "no Boost | apt-get install libboost-dev"},
	{Part: "segments", Shape: "create+detach 1 MiB, posix", Rival: "godsm", NsPerOp: 400000, Min: 390000, Max: 410000,
		Repeats: 7, Unstable: "others used 50 % of a CPU"},
	{Part: "segments", Shape: "create+detach 1 MiB, posix", Rival: "PostgreSQL 15", NsPerOp: 300000, Min: 290000,
		Max: 310000, Repeats: 7, Ratio: 1.33, Goal: "at most 1 x", Met: &no,
		Unstable: "others used 50 % of a CPU"},
	{Part: "messages", Shape: "one way 8 B, ring 1 MiB", Pin: "diff", Rival: "godsm", NsPerOp: 20, MBPerS: 400,
		Min: 19, Max: 21, Repeats: 7},
	{Part: "messages", Shape: "one way 64 B, ring 1 MiB", Pin: "diff", Rival: "godsm", NsPerOp: 25, MBPerS: 2560,
		Min: 24, Max: 26, Repeats: 7},
	{Part: "locks", Shape: "alone", Rival: "godsm", NsPerOp: 20, Min: 20, Max: 20, Repeats: 7},
	{Part: "locks", Shape: "alone", Rival: "a word and CAS", NsPerOp: 5, Min: 5, Max: 5, Repeats: 7,
		Ratio: 4, Why: "the limit"},
	{Part: "allocator", Shape: "overhead", Rival: "godsm", Percent: 7.4, Min: 7.4, Max: 7.4, Repeats: 7,
		Goal: "at most 12.0 %", Met: &yes, Decided: "how fast a clock ticks"},
	{Part: "hash table", Shape: "bytes of an entry", Rival: "godsm", Bytes: 20, Min: 20, Max: 20, Repeats: 7},
}

func TestMarkdown(t *testing.T) {
	text := string(Markdown(about, results, []Chart{{File: "create.svg", Title: "Create"}}))
	for _, want := range []string{
		"on 2031-05-06 07:08 UTC; it took 5m0s, of which 3s",
		"| machine | a CPU & <more>, 2 CPUs",
		"Goals met: 2 of 3 that were measured. Figures that are marked as not to be trusted: 2 of 11.",
		"A rival is ahead, and no reason is stated:\n\n- segments: create+detach 1 MiB, posix: PostgreSQL 15, 1.33\n",
		"**Missing rivals**; goals against them are not judged:\n\n- Boost, 1 figures: no Boost \\| apt-get install libboost-dev\n",
		"| nothing: both sides run alone on one CPU | 1 | 2 |\n| how fast a clock ticks | 1 | 1 |\n",
		"![Create](create.svg)",
		"| create+detach 4 KiB, posix |  | PostgreSQL 15 | **0.94** | at most 1 x: met " +
			"| 15 µs (14 µs – 19 µs) | 16 µs (15.5 µs – 17 µs) |  |",
		"| create+detach 4 KiB, posix |  | Boost |  |  " +
			`| 15 µs (14 µs – 19 µs) |  | skipped: no Boost \| apt-get install libboost-dev |`,
		"| create+detach 1 MiB, posix |  | PostgreSQL 15 | **1.33** | at most 1 x: **missed** " +
			"| 400 µs (390 µs – 410 µs) | 300 µs (290 µs – 310 µs) | ⚠ others used 50 % of a CPU |",
		"| one way 64 B, ring 1 MiB | diff | | |  | 25 ns (24 ns – 26 ns); 2.56 GB/s | |  |",
		"| alone |  | a word and CAS | **4.00** |  | 20 ns (20 ns – 20 ns) | 5 ns (5 ns – 5 ns) | the limit |",
		"| overhead |  | | | at most 12.0 %: met | 7.4 % (7.4 % – 7.4 %) | |  |",
		"| bytes of an entry |  | | |  | 20.0 B (20.0 B – 20.0 B) | |  |",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("it lacks %q", want)
		}
	}
	columns := 0
	for line := range strings.Lines(text) { // each table has as many columns in all its lines
		n := strings.Count(strings.ReplaceAll(line, `\|`, ""), "|")
		if n > 0 && columns > 0 && n != columns {
			t.Errorf("%d columns, not %d: %s", n-1, columns-1, line)
		}
		columns = n
	}
	if t.Failed() {
		t.Log(text)
	}
}

func TestChartsAreXML(t *testing.T) {
	charts, err := Charts(about, results)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, c := range charts {
		names = append(names, c.File)
		d, marks := xml.NewDecoder(bytes.NewReader(c.SVG)), 0
		for {
			token, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v", c.File, err)
			}
			if e, ok := token.(xml.StartElement); ok && (e.Name.Local == "path" || e.Name.Local == "text") {
				marks++
			}
		}
		if marks < 20 {
			t.Errorf("%s has %d lines and words: nothing is drawn", c.File, marks)
		}
		if !strings.Contains(string(c.SVG), "2031-05-06") || !strings.Contains(string(c.SVG), "godsm") &&
			c.File != "ratios.svg" {
			t.Errorf("%s lacks its date, or us", c.File)
		}
	}
	if want := []string{"ratios.svg", "create.svg", "oneway.svg"}; !slices.Equal(names, want) { // no others have data
		t.Errorf("charts %v, want %v", names, want)
	}
}

func TestDisturbedChartsSaySo(t *testing.T) {
	wild := slices.Clone(results)
	for i := range wild {
		wild[i].Unstable = "others used 50 % of a CPU"
	}
	charts, err := Charts(about, wild)
	if err != nil || len(charts) != 3 {
		t.Fatal(len(charts), err)
	}
	for _, c := range charts {
		if !strings.Contains(string(c.SVG), "disturbed") {
			t.Errorf("%s does not say that it was disturbed", c.File)
		}
	}
}

func TestAmount(t *testing.T) {
	for text, want := range map[string]float64{"8 B": 8, "64 KiB": 65536, "1 MiB": 1 << 20, "10000": 10000} {
		if v, err := amount(text); err != nil || v != want {
			t.Errorf("%q: %v, %v", text, v, err)
		}
	}
	for _, text := range []string{"", "x", "8 GB"} {
		if _, err := amount(text); err == nil {
			t.Errorf("%q is an amount", text)
		}
	}
}

// TestWrite pins the names that readers of results.json rely on.
func TestWrite(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "report")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "roundtrip.svg"), []byte("of an earlier run"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := Write(dir, about, results); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "roundtrip.svg")); !errors.Is(err, os.ErrNotExist) {
		t.Error("a chart of an earlier run is left")
	}
	b, err := os.ReadFile(filepath.Join(dir, "results.json"))
	if err != nil {
		t.Fatal(err)
	}
	var list []map[string]any
	if err := json.Unmarshal(b, &list); err != nil || len(list) != len(results) {
		t.Fatalf("%d objects, %v", len(list), err)
	}
	kinds := map[string]any{"part": "", "shape": "", "rival": "", "pin": "", "ns_per_op": 0.0, "mb_per_s": 0.0,
		"percent": 0.0, "bytes": 0.0, "min": 0.0, "max": 0.0,
		"repeats": 0.0, "ratio": 0.0, "goal": "", "met": true, "decided": "", "unstable": "", "skipped": "", "why": ""}
	always := []string{"part", "shape", "rival", "pin", "min", "max", "repeats"}
	seen := map[string]bool{}
	for _, object := range list {
		for name, v := range object {
			seen[name] = true
			if want, ok := kinds[name]; !ok || want == nil || !sameKind(v, want) {
				t.Errorf("%s is %v", name, v)
			}
		}
		for _, name := range always {
			if _, ok := object[name]; !ok {
				t.Errorf("%v lacks %s", object, name)
			}
		}
	}
	for name := range kinds {
		if !seen[name] {
			t.Errorf("no object has %s", name)
		}
	}
	var m machine.About
	if b, err = os.ReadFile(filepath.Join(dir, "machine.json")); err == nil {
		err = json.Unmarshal(b, &m)
	}
	if err != nil || m.Date != about.Date {
		t.Errorf("%+v, %v", m, err)
	}
}

func sameKind(a, b any) bool {
	switch a.(type) {
	case string:
		_, ok := b.(string)
		return ok
	case float64:
		_, ok := b.(float64)
		return ok
	case bool:
		_, ok := b.(bool)
		return ok
	}
	return false
}
