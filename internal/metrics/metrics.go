// Package metrics says what a survey of an instance is in metrics, and writes them as text for Prometheus: OpenMetrics 1.0, or
// the format before it.
//
// The families are data, so that the handler of the command and the collector for programs (contrib/prometheus) have one list.
// It does not promise counters that never fall: those of an instance begin at 0 with each generation, which
// dsm_generation tells, and those of a cache with the cache.
package metrics

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Type is what kind of metric a family is.
type Type string

const (
	Counter Type = "counter" // its name ends in _total
	Gauge   Type = "gauge"
)

// Family is a metric with a name. All samples have the labels of Labels.
type Family struct {
	Name    string
	Type    Type
	Help    string
	Labels  []string
	Samples []Sample
}

// Sample is one value; Values are those of the labels.
type Sample struct {
	Values []string
	Value  float64
}

// ContentType returns what Write writes.
func ContentType(open bool) string {
	if open {
		return "application/openmetrics-text; version=1.0.0; charset=utf-8"
	}
	return "text/plain; version=0.0.4; charset=utf-8"
}

// Text returns the families as text, in OpenMetrics' form if open is set. Values of labels are hostile bytes: what is no UTF-8
// is replaced, and what would end a value or a line is escaped.
func Text(families []Family, open bool) []byte {
	var b bytes.Buffer
	for _, f := range families {
		name := f.Name
		if open && f.Type == Counter {
			name = strings.TrimSuffix(name, "_total") // of the family; its samples have it
		}
		b.WriteString("# HELP " + name + " " + f.Help + "\n# TYPE " + name + " " + string(f.Type) + "\n")
		for _, s := range f.Samples {
			b.WriteString(f.Name)
			for i, l := range f.Labels {
				b.WriteString([]string{"{", ","}[min(i, 1)] + l + `="` + escape(s.Values[i]) + `"`)
			}
			if len(f.Labels) > 0 {
				b.WriteByte('}')
			}
			b.WriteByte(' ')
			b.Write(strconv.AppendFloat(nil, s.Value, 'g', -1, 64))
			b.WriteByte('\n')
		}
	}
	if open {
		b.WriteString("# EOF\n")
	}
	return b.Bytes()
}

func escape(s string) string { return escaper.Replace(Clean(s)) }

var escaper = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

// Clean returns s as valid UTF-8 without control characters but the line feed.
func Clean(s string) string {
	clean := func(r rune) bool { return (r < 0x20 || r == 0x7f) && r != '\n' || r == utf8.RuneError }
	if utf8.ValidString(s) && !strings.ContainsFunc(s, clean) {
		return s
	}
	return strings.Map(func(r rune) rune {
		if clean(r) {
			return utf8.RuneError
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
}

// family begins a family.
func family(name string, t Type, help string, labels ...string) Family {
	return Family{Name: name, Type: t, Help: help, Labels: labels}
}

// add adds a sample. Of two with the same labels, which a scraper would refuse, the first stays: two sessions may not be told
// apart when what tells them has been cleaned.
func (f *Family) add(value float64, labels ...string) {
	for i := range labels {
		labels[i] = Clean(labels[i])
	}
	if len(labels) == 0 || !slices.ContainsFunc(f.Samples, func(s Sample) bool { return slices.Equal(s.Values, labels) }) {
		f.Samples = append(f.Samples, Sample{labels, value})
	}
}
