package batch_test

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/godsm/godsm/batch"
	"github.com/godsm/godsm/batch/batchtest"
)

// lines is an io.Writer whose lines can be waited for.
type lines chan string

func (l lines) Write(b []byte) (int, error) { l <- string(b); return len(b), nil }

func TestCloseLogsWhatItWaitsFor(t *testing.T) {
	m := batchtest.NewMemory(batchtest.Ways{})
	log := make(lines, 100)
	e := batch.New(m, batchtest.Rules(), batch.Options{MaxRows: 2, Logger: slog.New(slog.NewTextHandler(log, nil))})
	release := m.Hold()
	defer release()
	futures := make([]*batch.Future[batchtest.Result], 10)
	for i := range futures {
		futures[i] = e.Submit(t.Context(), insert(i+1))
	}
	until(m.Holding)
	closed := make(chan error, 1)
	go func() { closed <- e.Close(t.Context()) }()
	line := <-log
	if n := fmt.Sprint("waiting=", e.Stats().Waiting); !strings.Contains(line, "answered=0") || !strings.Contains(line, n) {
		t.Errorf("with %s left, it said %s", n, line)
	}
	release()
	if err := <-closed; err != nil {
		t.Error(err)
	}
	for _, f := range futures {
		if _, err := f.Wait(t.Context()); err != nil {
			t.Error(err)
		}
	}
}
