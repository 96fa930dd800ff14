package top

import (
	"testing"

	"github.com/godsm/godsm/internal/survey"
	"github.com/godsm/godsm/locktable"
)

// TestWaitingCountsWaiters: two that wait for one lock are two, though the second waits for the holder and for the first.
func TestWaitingCountsWaiters(t *testing.T) {
	p := &picture{Tables: []survey.Table{
		{Locks: []locktable.Info{{Holders: make([]locktable.Party, 1), Waiters: make([]locktable.Party, 2)}}, Waits: make([]locktable.Edge, 3)},
		{Locks: []locktable.Info{{Waiters: make([]locktable.Party, 1)}}, Waits: make([]locktable.Edge, 1)},
	}}
	if n := waiting(p); n != 3 {
		t.Errorf("%d wait, not 3", n)
	}
}
