package batch

import (
	"slices"
	"time"
)

// Stats are figures of an engine since its start.
type Stats struct {
	Waiting   int           // commands in the queue
	Oldest    time.Duration // how long the first of them has waited
	Commands  uint64        // commands that were answered
	Failed    uint64        // of these, with an error
	Commits   uint64        // transactions that were committed
	Steps     uint64        // statements of these
	Merged    uint64        // commands that were answered by a statement's row that others shared
	Withdrawn uint64        // commands whose context ended before they were taken
	Left      uint64        // commands whose context ended while they were in a flush
	Cached    uint64        // answers that Get had in memory
	Bisected  uint64        // runs under a savepoint, or alone, to find a command that fails
	Retries   uint64        // transactions that were tried again after a transient error
	Lost      uint64        // connections that were lost
	Settled   uint64        // commits without an answer that were found out
	Unsettled uint64        // and those that could not be
	P50, P99  time.Duration // of the last 512 commits, from the begin of the transaction
	Trouble   error         // why the flush under way is being tried again; nil if it is not
	Since     time.Duration // how long that has been so
}

// Stats returns the figures. It does not wait for a flush.
func (e *Engine[Cmd, Res]) Stats() Stats {
	n, since, _ := e.queue.state()
	e.statsMu.Lock()
	defer e.statsMu.Unlock()
	s := e.stats
	s.Waiting = n
	s.Cached = e.plans.hits()
	if !since.IsZero() {
		s.Oldest = time.Since(since)
	}
	s.P50, s.P99 = e.spans.percentiles()
	if s.Trouble = e.trouble; s.Trouble != nil {
		s.Since = time.Since(e.since)
	}
	return s
}

func (e *Engine[Cmd, Res]) count(add func(*Stats)) {
	e.statsMu.Lock()
	defer e.statsMu.Unlock()
	add(&e.stats)
}

// noteTrouble notes why a flush is being tried again, or, with nil, that it is not.
func (e *Engine[Cmd, Res]) noteTrouble(err error) {
	e.statsMu.Lock()
	defer e.statsMu.Unlock()
	if e.trouble == nil && err != nil {
		e.since = time.Now()
	}
	e.trouble = err
}

// spans are the last times that commits took.
type spans struct {
	last [512]time.Duration
	n    int
}

func (s *spans) add(d time.Duration) {
	s.last[s.n%len(s.last)] = d
	s.n++
}

func (s *spans) percentiles() (p50, p99 time.Duration) {
	sorted := s.last
	known := sorted[:min(s.n, len(sorted))]
	if len(known) == 0 {
		return 0, 0
	}
	slices.Sort(known)
	return known[len(known)/2], known[len(known)*99/100]
}

// finished counts a commit.
func (e *Engine[Cmd, Res]) finished(calls, failed, merged, steps int, took time.Duration) {
	e.statsMu.Lock()
	defer e.statsMu.Unlock()
	s := &e.stats
	s.Commands += uint64(calls)
	s.Failed += uint64(failed)
	s.Merged += uint64(merged)
	s.Steps += uint64(steps)
	s.Commits++
	e.spans.add(took)
	e.trouble = nil
}
