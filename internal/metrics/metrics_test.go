package metrics

import (
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/godsm/godsm/cache"
	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/survey"
	"github.com/godsm/godsm/registry"
)

func named(name string) registry.Info { return registry.Info{Name: name} }

// TestFamiliesKeepToTheConventions: names, units, help; each family once, with as many values as labels.
func TestFamiliesKeepToTheConventions(t *testing.T) {
	name := regexp.MustCompile(`^dsm_[a-z][a-z0-9]*(_[a-z0-9]+)*$`)
	var seen []string
	s := survey.Survey{Caches: []survey.Cache{{Info: named("a"), Curve: []cache.Point{{Times: 0.5, HitRate: 0.25}}}, {Info: named("b"), Err: errors.New("garbled")}},
		Tables: []survey.Table{{Info: named("t")}}, Queues: []survey.Queue{{Info: named("q")}}}
	for _, f := range Families(s, nil) {
		if !name.MatchString(f.Name) || (f.Type == Counter) != strings.HasSuffix(f.Name, "_total") || !strings.HasSuffix(f.Help, ".") {
			t.Errorf("%s %s %q", f.Name, f.Type, f.Help)
		}
		if slices.Contains(seen, f.Name) {
			t.Errorf("%s is there twice", f.Name)
		}
		seen = append(seen, f.Name)
		for _, x := range f.Samples {
			if len(x.Values) != len(f.Labels) || slices.Contains(x.Values, "b") {
				t.Errorf("%s: %v for labels %v", f.Name, x.Values, f.Labels)
			}
		}
	}
	if list := Families(survey.Survey{}, errors.New("nothing")); len(list) != 1 || list[0].Samples[0].Value != 0 {
		t.Errorf("without an instance: %v", list)
	}
}

func TestTextEscapes(t *testing.T) {
	for given, want := range map[string]string{
		"plain":         "plain",
		`a"b\c`:         `a\"b\\c`,
		"two\nlines":    `two\nlines`,
		"\x00\x1b[31m":  "\uFFFD\uFFFD[31m",
		"cut \xf0\x9f":  "cut \uFFFD",
		"\u2028 stays ": "\u2028 stays ",
	} {
		f := family("dsm_x", Gauge, "X.", "name")
		f.add(1, given)
		want = "# HELP dsm_x X.\n# TYPE dsm_x gauge\ndsm_x{name=\"" + want + "\"} 1\n"
		if got := string(Text([]Family{f}, false)); got != want {
			t.Errorf("%q: %q, want %q", given, got, want)
		}
	}
}

// TestApplicationsAreBounded: however many names programs choose, there are some tens of series.
func TestApplicationsAreBounded(t *testing.T) {
	var r dsm.Report
	for i := range 1000 {
		r.Sessions = append(r.Sessions, dsm.SessionInfo{Application: strings.Repeat("a", i), Segments: 1, State: "running"})
	}
	for _, f := range sessionFamilies(r) {
		sum := 0.0
		for _, x := range f.Samples {
			sum += x.Value
		}
		if len(f.Samples) > maxApplications+1 || f.Name == "dsm_application_references" && sum != 1000 {
			t.Errorf("%s: %d samples, in all %v", f.Name, len(f.Samples), sum)
		}
	}
}

// FuzzText: whatever a label's value is, the text has one line for each sample, and is UTF-8.
func FuzzText(f *testing.F) {
	f.Add("a\"} 1\n# EOF\n")
	f.Fuzz(func(t *testing.T, value string) {
		x := family("dsm_x", Gauge, "X.", "name")
		x.add(1, value)
		text := string(Text([]Family{x}, true))
		if strings.Count(text, "\n") != 4 || !utf8.ValidString(text) || !strings.HasSuffix(text, "} 1\n# EOF\n") {
			t.Fatalf("%q", text)
		}
	})
}
