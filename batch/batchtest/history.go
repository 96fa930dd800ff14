package batchtest

import (
	"errors"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"

	"github.com/godsm/godsm/batch"
)

// An Event is a command and what its caller was told.
type Event struct {
	Command
	Caller   int
	Ordered  bool  // its caller's context is Ordered
	Begin    int64 // when it was handed in
	End      int64 // when it was answered; 0 if it was not
	Result   Result
	Err      error
	Executed batch.Executed
}

// A History is what callers did and were told.
type History struct {
	clock  atomic.Int64
	mu     sync.Mutex
	events []*Event
}

// Begin notes that a command is handed in.
func (h *History) Begin(caller int, ordered bool, c Command) *Event {
	h.mu.Lock()
	defer h.mu.Unlock()
	e := &Event{Command: c, Caller: caller, Ordered: ordered, Begin: h.clock.Add(1)}
	h.events = append(h.events, e)
	return e
}

// End notes what the caller was told.
func (h *History) End(e *Event, r Result, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	e.Result, e.Err, e.Executed, e.End = r, err, batch.ExecutedOf(err), h.clock.Add(1)
}

// Check compares the history with a serial execution. executed are the numbers of the commands in the order in which
// the database has executed them, rows what it holds in the end. Commands that have failed, and reads, which may be
// executed more than once, are not among executed: for each of these there must be a place in that order at which it
// returns what it did.
func (h *History) Check(executed []int, rows map[string]Row) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	places := map[int]int{}
	for i, id := range executed {
		if at, twice := places[id]; twice {
			return fmt.Errorf("command %d was executed twice: as the %dth and the %dth", id, at, i)
		}
		places[id] = i
	}
	events := map[int]*Event{}
	var loose []*Event // to be placed
	for _, e := range h.events {
		events[e.ID] = e
		_, was := places[e.ID]
		switch {
		case e.End == 0:
			return fmt.Errorf("command %v has no outcome", e.Command)
		case e.Executed == batch.No && was:
			return fmt.Errorf("command %v was executed, and its caller was told: %w", e.Command, e.Err)
		case e.Executed == batch.Yes && !was && e.Op == Select:
			loose = append(loose, e)
		case e.Executed == batch.Yes && !was:
			return fmt.Errorf("command %v was answered with %+v, and was not executed", e.Command, e.Result)
		case e.Executed == batch.No && refused(e.Err):
			loose = append(loose, e)
		}
	}
	model, ids := Model{}, map[string]int64{}
	latest := int64(0) // the latest hand-in of what has been executed
	last := map[int][]*Event{}
	step := func(e *Event) error { // e is the next in the order
		if e.End < latest && e.Executed != batch.Maybe {
			return fmt.Errorf("command %v was answered before another one was handed in, which was executed before it",
				e.Command)
		}
		latest = max(latest, e.Begin)
		for _, other := range last[e.Caller] {
			if other.Begin > e.Begin && (e.Ordered || e.Key == other.Key) {
				return fmt.Errorf("command %v was executed after %v of the same caller", e.Command, other.Command)
			}
		}
		last[e.Caller] = append(last[e.Caller], e)
		return nil
	}
	before := func(a, b *Event) bool { // a must be executed before b
		return a.End < b.Begin && a.Executed != batch.Maybe ||
			a.Caller == b.Caller && a.Begin < b.Begin && (b.Ordered || a.Key == b.Key)
	}
	fits := func(e *Event, i int) bool { // e, which changes nothing, may be the next
		r, err := maps.Clone(model).Do(e.Command)
		if (err != nil) != (e.Err != nil) || err == nil && (r.Value != e.Result.Value || r.Affected != e.Result.Affected) {
			return false
		}
		for _, other := range loose {
			if other != nil && before(other, e) {
				return false
			}
		}
		for _, id := range executed[i:] {
			if other := events[id]; other != nil && before(other, e) {
				return false
			}
		}
		return e.End >= latest
	}
	for i := 0; ; i++ {
		for x, e := range loose {
			if e != nil && fits(e, i) {
				if err := step(e); err != nil {
					return err
				}
				loose[x] = nil
			}
		}
		if i == len(executed) {
			break
		}
		e := events[executed[i]]
		if e == nil {
			return fmt.Errorf("command %d was executed, and was not handed in", executed[i])
		}
		if err := step(e); err != nil {
			return err
		}
		r, err := model.Do(e.Command)
		if err != nil {
			return fmt.Errorf("command %v was executed as the %dth; serially it fails", e.Command, i)
		}
		if e.Executed == batch.Yes && (r.Affected != e.Result.Affected || r.Value != e.Result.Value) {
			return fmt.Errorf("command %v returned %+v; serially %+v", e.Command, e.Result, r)
		}
		switch {
		case e.Op == Delete, e.Op == Insert && e.Executed == batch.Maybe:
			delete(ids, e.Key)
		case e.Op == Insert && r.Affected > 0:
			ids[e.Key] = e.Result.ID
		}
	}
	for _, e := range loose {
		if e == nil {
			continue
		}
		return fmt.Errorf("command %v returned %+v, %v; serially it can't, at any place", e.Command, e.Result, e.Err)
	}
	if len(rows) != len(model) {
		return fmt.Errorf("%d rows; serially %d", len(rows), len(model))
	}
	for key, row := range rows {
		if id, ok := ids[key]; ok && id != row.ID {
			return fmt.Errorf("row %s has the id %d; its caller was told %d", key, row.ID, id)
		}
		row.ID = 0
		if row != model[key] {
			return fmt.Errorf("row %s is %+v; serially %+v", key, row, model[key])
		}
	}
	return nil
}

// refused reports whether a command was refused by the database, as opposed to not having got there.
func refused(err error) bool {
	e, ok := errors.AsType[*batch.Error](err)
	return ok && e.Class == batch.Row && !errors.Is(err, batch.ErrPanic)
}
