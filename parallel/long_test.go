package parallel_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/catalog"
	"github.com/godsm/godsm/internal/excerpt"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/parallel"
	"github.com/rs/zerolog"
)

// longText is a text of 8 MiB whose beginning and end show.
func longText() string { return "begin" + strings.Repeat("x", 8<<20) + "end" }

var longTask = parallel.Register("long", func(ctx context.Context, w *parallel.Worker, way string) error {
	switch way {
	case "panic":
		panic(longText())
	case "panic of an error":
		panic(errors.New(longText()))
	case "fail":
		return errors.New(longText())
	case "fail often":
		var all []error
		for range 1000 {
			all = append(all, errors.New(longText()[:1<<10]))
		}
		return errors.Join(errors.Join(all...), errors.New("end"))
	case "log":
		w.Log.Info().Str("text", longText()).Interface("list", []string{longText()}).Str(longText(), "named").
			Int("number", 7).Msg(longText())
	case "log often":
		e := w.Log.Info()
		for range 200 {
			e = e.Str("f"+strings.Repeat("x", 1<<10), "v")
		}
		for i := range 200 {
			e = e.Int("n"+string(rune('a'+i)), i)
		}
		e.Msg("m")
	}
	return nil
})

// TestLongErrorOfAWorkerIsShortened: whatever a worker's function says at its end, the leader's error has its beginning and
// its end, and a size that a person reads.
func TestLongErrorOfAWorkerIsShortened(t *testing.T) {
	cfg := instancetest.Config(t, catalog.Default())
	instancetest.Start(t, cfg)
	s := instancetest.Open(t, cfg)
	for way, want := range map[string][]string{
		"panic":             {": panic: beginxxx", "bytes are left out", "xend\ngoroutine ", "long_test.go"},
		"panic of an error": {": panic: beginxxx", "bytes are left out", "xend\ngoroutine ", "long_test.go"},
		"fail":              {"beginxxx", "bytes are left out", "xend"},
		"fail often":        {"beginxxx", "bytes are left out", "end"},
	} {
		for _, workers := range []int{0, 1} {
			if workers == 0 && strings.HasPrefix(way, "fail") {
				continue // the leader works itself, and its own error is the caller's as it is
			}
			err := longTask.Run(ctx, s, workers, way)
			if err == nil || len(err.Error()) > excerpt.Text+1000 {
				t.Fatalf("%s, %d workers: %d bytes", way, workers, len(err.Error()))
			}
			for _, w := range want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%s, %d workers: there is no %q in %v", way, workers, w, err)
				}
			}
		}
	}
}

// TestLongLogLineOfAWorkerIsShortened: field by field, or as a whole if it has too many.
func TestLongLogLineOfAWorkerIsShortened(t *testing.T) {
	cfg := instancetest.Config(t, catalog.Default())
	instancetest.Start(t, cfg)
	var lines bytes.Buffer
	cfg.Logger = zerolog.New(&lines)
	s, err := dsm.Open(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, way := range []string{"log", "log often"} {
		lines.Reset()
		if err := longTask.Run(ctx, s, 1, way); err != nil {
			t.Fatal(err)
		}
		var found map[string]any
		for line := range bytes.Lines(lines.Bytes()) {
			fields := map[string]any{}
			if err := json.Unmarshal(line, &fields); err != nil {
				t.Fatalf("%s: %v in a line of %d bytes", way, err, len(line))
			}
			if fields["worker"] != nil {
				found = fields
			}
		}
		if n := lines.Len(); found == nil || n > 5*excerpt.Text {
			t.Fatalf("%s: %d bytes of log, %d fields", way, n, len(found))
		}
		if way == "log often" {
			line, _ := found["line"].(string)
			if found["event"] != "worker-line" || !strings.Contains(line, "bytes are left out") || !strings.HasSuffix(line, "\"m\"}\n") {
				t.Errorf("a line of too many fields: %v", found)
			}
			continue
		}
		for _, name := range []string{"text", "list", "message"} {
			text, _ := found[name].(string)
			if !strings.Contains(text, "beginxxx") || !strings.Contains(text, "bytes are left out") || !strings.Contains(text, "xend") {
				t.Errorf("%s: %.60q", name, text)
			}
		}
		if found["number"] != float64(7) || found[excerpt.Of(longText(), excerpt.Value)] != "named" {
			t.Error("the short fields are not as they were")
		}
	}
}
