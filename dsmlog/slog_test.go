package dsmlog_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"reflect"
	"strings"
	"testing"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/dsmlog"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/supervisor"
)

// lines are the records that a handler wrote, without their time.
func lines(t *testing.T, b *bytes.Buffer) (list []map[string]any) {
	t.Helper()
	for line := range strings.Lines(b.String()) {
		record := map[string]any{}
		if err := json.Unmarshal([]byte(line), &record); err != nil {
			t.Fatal(err)
		}
		if _, timed := record["time"]; !timed {
			t.Errorf("%s has no time", line)
		}
		delete(record, "time")
		list = append(list, record)
	}
	return list
}

func TestSlog(t *testing.T) {
	var out bytes.Buffer
	log := dsmlog.Slog(slog.New(slog.NewJSONHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug - 4})).With("service", "x"))
	log.Trace().Msg("a trace")
	log.Debug().Bool("yes", true).Msg("debug")
	log.Info().Int("pid", 7).Uint64("bytes", 1<<60).Float64("rate", 0.5).Str("event", "adopted").Msg("info\nof two lines")
	log.Warn().Err(errors.New("why")).Strs("list", []string{"a", "b"}).Msg("warn")
	log.Error().Msg("error")
	log.Log().Msg("no level")
	want := []map[string]any{
		{"level": "DEBUG-4", "msg": "a trace"},
		{"level": "DEBUG", "msg": "debug", "yes": true},
		{"level": "INFO", "msg": "info\nof two lines", "pid": 7.0, "bytes": float64(1 << 60), "rate": 0.5, "event": "adopted"},
		{"level": "WARN", "msg": "warn", "error": "why", "list": []any{"a", "b"}},
		{"level": "ERROR", "msg": "error"},
		{"level": "INFO", "msg": "no level"},
	}
	got := lines(t, &out)
	for i := range want {
		want[i]["service"] = "x"
		if i >= len(got) || !reflect.DeepEqual(got[i], want[i]) {
			t.Errorf("record %d of %v\nis not %v", i, got, want[i])
		}
	}
}

func TestSlogLevels(t *testing.T) {
	var out bytes.Buffer
	log := dsmlog.Slog(slog.New(slog.NewJSONHandler(&out, &slog.HandlerOptions{Level: slog.LevelWarn})))
	if log.Info().Enabled() || !log.Warn().Enabled() {
		t.Error("the logger makes events that nothing wants, or does not make those that are wanted")
	}
	if l := dsmlog.Slog(nil); l.Error().Enabled() {
		t.Error("no slog.Logger wants events")
	}
	if l := dsmlog.Slog(slog.New(slog.DiscardHandler)); l.Error().Enabled() {
		t.Error("a handler that wants nothing gets events")
	}
}

// TestSlogOfAnInstance: a supervisor's own events, under the names of doc/logs.md.
func TestSlogOfAnInstance(t *testing.T) {
	var out bytes.Buffer
	cfg := dsm.Config{Dir: instancetest.TempDir(t), Logger: dsmlog.Slog(slog.New(slog.NewJSONHandler(&out, nil)))}
	instancetest.NoneLeft(t, cfg.Dir)
	for range 2 {
		s, err := supervisor.Start(context.Background(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Leave(); err != nil {
			t.Error(err)
		}
	}
	s, err := supervisor.Start(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Stop(); err != nil {
		t.Error(err)
	}
	var events []string
	for _, r := range lines(t, &out) {
		events = append(events, r["event"].(string))
	}
	if want := []string{"left", "adopted-left", "left", "adopted-left"}; !reflect.DeepEqual(events, want) {
		t.Errorf("the events are %v, not %v", events, want)
	}
}
