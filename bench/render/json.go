// Package render writes what was measured: as JSON, as a report in Markdown, as charts.
package render

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"

	"github.com/godsm/godsm/bench/figure"
	"github.com/godsm/godsm/bench/machine"
)

// Write writes all of it into dir, which is made if missing. Charts without data are left out.
func Write(dir string, about machine.About, results []figure.Result) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	old, _ := filepath.Glob(filepath.Join(dir, "*.svg")) // of a run that had more figures
	for _, path := range old {
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	if err := writeJSON(filepath.Join(dir, "results.json"), results); err != nil {
		return err
	}
	if err := writeJSON(filepath.Join(dir, "machine.json"), about); err != nil {
		return err
	}
	charts, err := Charts(about, results)
	if err != nil {
		return err
	}
	for _, c := range charts {
		if err := os.WriteFile(filepath.Join(dir, c.File), c.SVG, 0o644); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(dir, "report.md"), Markdown(about, results, charts), 0o644)
}

func writeJSON(path string, v any) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetIndent("", " ")
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err
	}
	return os.WriteFile(path, b.Bytes(), 0o644)
}
