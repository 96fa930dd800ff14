package main

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/godsm/godsm/internal/testing/tracetest"
)

// writeTrace writes Zipf draws as be32, to as many files as there are names, in turn.
func writeTrace(t *testing.T, n int, paths ...string) {
	t.Helper()
	files := make([][]byte, len(paths))
	numbers := map[uint64]uint32{}
	for i, x := range tracetest.Zipf(0.9, 30_000, n) {
		k, ok := numbers[x.Hash]
		if !ok {
			k = uint32(len(numbers))
			numbers[x.Hash] = k
		}
		files[i%len(files)] = binary.BigEndian.AppendUint32(files[i%len(files)], k)
	}
	for i, path := range paths {
		writeFile(t, path, files[i])
	}
}

func writeFile(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestReplay: the result is that of a cache of as many entries as were asked for, however the trace is packed, and whether
// one session or three replay it.
func TestReplay(t *testing.T) {
	p := newPlace(t)
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	writeTrace(t, 120_000, at("all"))
	writeTrace(t, 120_000, at("a"), at("b"), at("c"))
	all, err := os.ReadFile(at("all"))
	if err != nil {
		t.Fatal(err)
	}
	var zipped bytes.Buffer
	w := gzip.NewWriter(&zipped)
	_, err = w.Write(all)
	if err = errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	writeFile(t, at("all.gz"), zipped.Bytes())
	ways := [][]string{{at("all")}, {at("all.gz")}, {at("a"), at("b"), at("c")}}
	if err := exec.Command("xz", "-k", at("all")).Run(); err == nil {
		ways = append(ways, []string{at("all.xz")})
	}
	var first replayResult
	for i, files := range ways {
		got := parse[replayResult](t, p.ok(append([]string{"cache", "replay", "--entries", "3000", "--format", "be32"}, files...)...))
		if i == 0 {
			first = got
		}
		if got.Accesses != 120_000 || got.Unique != first.Unique || math.Abs(float64(got.Entries)-3000) > 60 ||
			math.Abs(got.HitRate-first.HitRate) > 0.005 || got.HitRate != float64(got.Hits)/120_000 || got.Hits == 0 ||
			got.Evictions == 0 || got.Bytes >= got.Limit || got.Bytes <= got.Limit/2 {
			t.Errorf("%v: %+v, first %+v", files, got, first)
		}
	}
	got := parse[replayResult](t, p.ok("cache", "replay", "--limit", "16MB", "--size", "100", "--format", "be32", at("all")))
	if got.Limit != 16<<20 || got.Evictions != 0 || got.Entries != first.Unique || got.Hits != 120_000-first.Unique ||
		got.Bytes != int64(first.Unique*108) {
		t.Errorf("all fits: %+v", got)
	}
	if got := parse[replayResult](t, p.ok("cache", "replay", "--entries", "50000", "--format", "be32", at("all"))); got.Evictions != 0 ||
		got.Hits != 120_000-first.Unique {
		t.Errorf("all fits: %+v", got)
	}
}

// TestReplayFavour: favouring objects, more of the accesses to values of many sizes are hits, at the price of large ones.
func TestReplayFavour(t *testing.T) {
	p := newPlace(t)
	path := filepath.Join(t.TempDir(), "sized")
	var text bytes.Buffer
	for i, x := range tracetest.Sized(tracetest.Zipf(0.9, 60_000, 200_000)) {
		fmt.Fprintln(&text, i, x.Hash, x.Size)
	}
	writeFile(t, path, text.Bytes())
	rates := map[string]float64{}
	for _, favour := range []string{"objects", "bytes"} {
		got := parse[replayResult](t, p.ok("cache", "replay", "--limit", "2MB", "--favour", favour, "--format", "sized", path))
		rates[favour] = got.HitRate
		if got.Bytes > got.Limit || got.Bytes < got.Limit*7/10 {
			t.Errorf("%s: %+v", favour, got)
		}
	}
	if rates["objects"] <= rates["bytes"] {
		t.Errorf("the rates are %v", rates)
	}
}

func TestReplayRefuses(t *testing.T) {
	p := newPlace(t)
	dir := t.TempDir()
	torn := filepath.Join(dir, "torn")
	writeFile(t, torn, []byte{0, 0, 0, 1, 9})
	cut := filepath.Join(dir, "cut")
	writeFile(t, cut, []byte{0x1f, 0x8b, 8, 0})
	empty := filepath.Join(dir, "empty")
	writeFile(t, empty, nil)
	few := filepath.Join(dir, "few")
	writeTrace(t, 30_000, few)
	for _, x := range []struct {
		status int
		says   string
		args   []string
	}{
		{2, "at least 1 arg", []string{"--entries", "10", "--format", "be32"}},
		{2, "one of --entries and --limit", []string{"--format", "be32", torn}},
		{2, "one of --entries and --limit", []string{"--entries", "10", "--limit", "2MB", "--format", "be32", torn}},
		{2, "--format", []string{"--entries", "10", torn}},
		{2, "no such format \"csv\"", []string{"--entries", "10", "--format", "csv", torn}},
		{2, "--favour \"luck\"", []string{"--entries", "10", "--favour", "luck", "--format", "be32", torn}},
		{2, "--entries 0", []string{"--entries", "0", "--format", "be32", torn}},
		{2, "--size -1", []string{"--entries", "10", "--size", "-1", "--format", "be32", torn}},
		{2, "a cache has from 1 MB", []string{"--limit", "10", "--format", "be32", torn}},
		{2, "--limit \"x\"", []string{"--limit", "x", "--format", "be32", torn}},
		{1, "in the middle of a key", []string{"--entries", "10", "--format", "be32", torn}},
		{1, "unexpected EOF", []string{"--entries", "10", "--format", "be32", cut}},
		{1, "no such file", []string{"--entries", "10", "--format", "be32", filepath.Join(dir, "none")}},
		{1, "no cache has 10 entries", []string{"--entries", "10", "--format", "be32", few}},
	} {
		p.fails(x.status, x.says, append([]string{"cache", "replay"}, x.args...)...)
	}
	got := parse[replayResult](t, p.ok("cache", "replay", "--entries", "10", "--format", "be32", empty))
	if got.Accesses != 0 || got.HitRate != 0 {
		t.Errorf("an empty trace: %+v", got)
	}
}
