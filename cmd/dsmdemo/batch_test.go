//go:build unix

package main

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/godsm/godsm/batch"
	queues "github.com/godsm/godsm/batch/shared"
	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/testing/instancetest"
)

// away is a database that can't be reached.
type away struct{}

var errAway = errors.New("the database is \x1b[31maway")

func (away) Lead(context.Context, string, uint64, string) (by, flush uint64, err error) {
	return 0, 0, nil
}
func (away) Backend() string                                                 { return "" }
func (away) Begin(context.Context, uint64) (batch.Tx[string, string], error) { return nil, errAway }
func (away) Settle(context.Context, uint64) (bool, error)                    { return false, errAway }
func (away) Class(error) batch.Class                                         { return batch.Lost }
func (away) Close(context.Context) error                                     { return nil }

// TestBatchShowsAQueueThatIsStuck: what waits, and why.
func TestBatchShowsAQueueThatIsStuck(t *testing.T) {
	p := newPlace(t)
	p.supervise()
	if got := strings.TrimSpace(p.ok("batch", "--json")); got != "[]" {
		t.Errorf("without queues: %s", got)
	}
	s := instancetest.Open(t, dsm.Config{Dir: p.dir})
	text := queues.Codec[string]{
		Append: func(b []byte, v string) ([]byte, error) { return append(b, v...), nil },
		Parse:  func(b []byte) (string, error) { return string(b), nil },
	}
	q, err := queues.Open(t.Context(), s, "orders", text, text, batch.Rules[string, string, int, int]{},
		func() (batch.Driver[string, string], error) { return away{}, nil }, queues.Options{Slots: 128, Lease: 200 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		q.Submit(t.Context(), "an order")
	}
	instancetest.Eventually(t, "batch says what is wrong", func() bool {
		rows := parse[[]queueRow](t, p.ok("batch", "orders", "--json"))
		return len(rows) == 1 && rows[0].Waiting+rows[0].Flushing == 3 && rows[0].Trouble != "" && rows[0].Takeovers == 1
	})
	if out := p.ok("batch"); !strings.Contains(out, "orders: session ") || !strings.Contains(out, "3 of 128 slots by 1 sessions") ||
		!strings.Contains(out, "stuck for ") || !strings.Contains(out, "[31maway") || strings.Contains(out, "\x1b") {
		t.Errorf("batch:\n%s", out)
	}
	p.fails(1, `no queue "none"`, "batch", "none")
	short, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := q.Close(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}
