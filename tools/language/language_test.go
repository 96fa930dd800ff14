package main

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// TestRules: each rule finds what it is for, and leaves alone what is in order.
func TestRules(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want []string // rules
	}{
		"in order":                     {"// Close ends the session.\nfunc Close() {}", nil},
		"no verb":                      {"// Size is the number of bytes.\nfunc Size() int { return 0 }", []string{"verb"}},
		"a comparison":                 {"// Wait is like Lock but for one.\nfunc Wait() {}", nil},
		"another function's name":      {"// Size is Len in bytes.\nfunc Size() int { return 0 }", nil},
		"another name":                 {"// It closes.\nfunc Close() {}", []string{"name"}},
		"an apposition":                {"// Close, like End, ends it.\nfunc Close() {}", nil},
		"no comment":                   {"func Open() {}", []string{"missing"}},
		"no comment, known meaning":    {"type t int\nfunc (t) String() string { return \"\" }", nil},
		"no comment, not exported":     {"func open() {}", nil},
		"no comment of a type":         {"type T int", []string{"missing"}},
		"a type's other name":          {"// One of a kind.\ntype T int", []string{"name"}},
		"a type with an article":       {"// A T holds one.\ntype T int", nil},
		"bool":                         {"// Full looks at the ring.\nfunc Full() bool { return false }", []string{"whether"}},
		"bool that reports":            {"// Full reports whether the ring is full.\nfunc Full() bool { return false }", nil},
		"bool that says":               {"// full says whether the ring is full.\nfunc full() bool { return false }", []string{"whether"}},
		"he":                           {"// end waits until he is gone.\nfunc end() {}", []string{"he"}},
		"nobody":                       {"var x int // nobody has it", []string{"somebody"}},
		"nobody, on purpose":           {"var x int // the user nobody; language: ok", nil},
		"headless":                     {"var x int // for who comes last", []string{"headless"}},
		"headless, over a line":        {"// x is for\n// who comes last\nvar x int", []string{"headless"}},
		"idiom":                        {"var x int // killed amid a call", []string{"idiom"}},
		"an error's text":              {"var x = errors.New(\"the row can't be right\")", []string{"idiom"}},
		"a text to print":              {"var x = \"what everybody holds\"", []string{"somebody"}},
		"a word that is no text":       {"var x = \"nobody\"", nil},
		"called under a lock":          {"// drop removes s, under the lock.\nfunc drop() {}", []string{"locked"}},
		"takes the lock itself":        {"// drop removes s, under the lock.\nfunc drop() { mu.Lock() }", nil},
		"Locked without a lock's name": {"// dropLocked removes s.\nfunc dropLocked() {}", []string{"locked"}},
		"Locked with a lock's name":    {"// dropLocked removes s. The caller holds s.mu.\nfunc dropLocked() {}", nil},
		"Locked with a mutex":          {"// dropLocked removes s. The caller holds the head's mutex.\nfunc dropLocked() {}", nil},
		"Locked behind an interface":   {"// Drop implements store.\nfunc (s *S) Drop() { dropLocked() }", nil},
		"Locked that locks":            {"// dropLocked removes s. The caller holds s.mu.\nfunc dropLocked() { s.mu.Lock() }", []string{"locked"}},
		"Locked that takes another":    {"// dropLocked removes s. The caller holds s.mu; t.mu is taken inside.\nfunc dropLocked() { t.mu.Lock() }", nil},
		"Locked before the unlock":     {"func leave() { dropLocked(); s.unlock() }", nil},
		"Locked in a section":          {"func end() { s.section(func() { dropLocked() }) }", nil},
		"Locked that unlocks first":    {"// dropLocked drops s.mu for a moment.\nfunc dropLocked() { s.mu.Unlock(); s.mu.Lock() }", nil},
		"Locked called without a lock": {"func end() { dropLocked() }", []string{"locked"}},
		"Locked called with it":        {"func end() { s.mu.Lock(); dropLocked() }", nil},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := parse("p/x.go", []byte("package p\n\n"+c.text+"\n"))
			if err != nil {
				t.Fatal(err)
			}
			f := &folder{name: "p"}
			f.add(s)
			var got []string
			for _, x := range f.findings() {
				got = append(got, x.rule)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("%v, not %v: %v", got, c.want, f.findings())
			}
		})
	}
}

func TestDensityCountsLinesOfTheirOwn(t *testing.T) {
	comments, code := countLines([]byte("// Package p counts.\npackage p\n\n/* two\nlines */\nvar x = `a\nb` // with code\n"))
	if comments != 3 || code != 3 {
		t.Errorf("%d comment lines and %d code lines, not 3 and 3", comments, code)
	}
	s, err := parse("control/x.go", []byte("package control\n\nvar a = 1\nvar b = 2\nvar c = 3\n"))
	if err != nil {
		t.Fatal(err)
	}
	f := &folder{name: "control"}
	f.add(s)
	if n := len(f.findings()); n != 2 {
		t.Errorf("%d comment lines are missing in four lines of code, not 2", n)
	}
}

// TestAllowanceNeverGrows: what a look finds lowers the numbers, and never raises one or adds a folder.
func TestAllowanceNeverGrows(t *testing.T) {
	before := allowed{{"a", "he"}: 3, {"b", "he"}: 1, {"c", "verb"}: 5}
	found := allowed{{"a", "he"}: 2, {"c", "verb"}: 9, {"d", "verb"}: 1}
	after := before.lowered(found)
	want := allowed{{"a", "he"}: 2, {"c", "verb"}: 5}
	if after.String() != want.String() {
		t.Errorf("it is\n%s, not\n%s", after, want)
	}
	if keys := before.exceeded(found); len(keys) != 2 {
		t.Errorf("%v exceed what is allowed, not rule verb in c and d", keys)
	}
}

func TestAllowedFileRefusesNonsense(t *testing.T) {
	name := filepath.Join(t.TempDir(), "allowed.txt")
	for _, text := range []string{"a he", "a he 0", "a he -1", "a he 1\na he 2", "a he x"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := readAllowed(name); err == nil {
			t.Errorf("%q is read without an error", text)
		}
	}
}

// TestTree: no folder of the tree has more findings than allowed.txt permits, and the file holds no folder that is gone.
func TestTree(t *testing.T) {
	if err := run("../..", nil, false, false, false); err != nil {
		t.Error(err)
	}
	permitted, err := readAllowed("allowed.txt")
	if err != nil {
		t.Fatal(err)
	}
	for k := range permitted {
		if _, err := os.Stat(filepath.Join("../..", k.folder)); err != nil {
			t.Errorf("allowed.txt has a line for %s: %v", k.folder, err)
		}
	}
}
