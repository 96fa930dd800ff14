package record

import (
	"cmp"
	"context"
	"io"
	"slices"
	"time"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/survey"
)

// recorder turns surveys, one after the other, into trace events.
type recorder struct {
	config   dsm.Config
	interval time.Duration
	limit    int64 // of the file, in bytes

	out    writer
	begun  time.Time // where the recording's time is 0
	looks  int
	now    survey.Survey
	before *survey.Survey // the look before; nil at the first

	open  map[key]*span     // what goes on
	ids   int               // of spans
	last  map[string]string // of each counter, the values written last, as JSON
	told  map[eventKey]bool // events of the instance that are written
	named map[int]bool      // processes that have their names
	full  bool              // something was left out, since the file has no room for it
}

// share is how many times as long as a look the pause after it is, at least: a recording costs a tenth of a processor at most.
const share = 9

// maxEvents is how many of the instance's events a look reads: as many as a generation keeps.
const maxEvents = 1024

// look takes the next survey. If there is nothing to be seen any more, it adds the events that tell why to the last one.
func (r *recorder) look(ctx context.Context) error {
	s, err := survey.Take(ctx, r.config)
	if err != nil {
		r.now.ReadEvents(ctx, r.config, maxEvents)
		return err
	}
	s.ReadEvents(ctx, r.config, maxEvents)
	if r.looks == 0 {
		r.begun = s.Begun
	} else {
		last := r.now
		r.before = &last
	}
	r.now = s
	r.looks++
	return nil
}

// lasted returns the time from the first look to the last.
func (r *recorder) lasted() time.Duration { return r.now.Begun.Sub(r.begun) }

// record writes the look that was taken and those that follow, until one of the ends that it names. Length 0 is without an end.
func (r *recorder) record(ctx context.Context, w io.Writer, length time.Duration) (why string, err error) {
	r.out.to(w)
	for why == "" {
		begin := time.Now()
		r.add()
		if err = r.out.flush(); err != nil {
			return "", err
		}
		pause := max(r.interval, share*(r.now.Took+time.Since(begin)))
		if length > 0 {
			pause = min(pause, max(length-time.Since(r.begun), 0))
		}
		switch {
		case r.full:
			why = "the file has --limit bytes"
		case length > 0 && r.lasted() >= length:
			why = "--for is over"
		default:
			why = r.next(ctx, pause)
		}
	}
	r.finish(func(*span) bool { return true })
	return why, r.out.close()
}

// next takes the next look after a pause. It returns why there is none.
func (r *recorder) next(ctx context.Context, pause time.Duration) (why string) {
	select {
	case <-ctx.Done():
		return "it was interrupted"
	case <-time.After(pause):
	}
	err := r.look(ctx)
	switch {
	case err == nil:
		return ""
	case ctx.Err() != nil:
		return "it was interrupted"
	}
	r.addEvents()
	return err.Error()
}

// add writes how the last look differs from the one before: what has ended, what has begun, the counters, the events.
func (r *recorder) add() {
	var begun []*span
	for _, s := range spansOf(&r.now) {
		old := r.open[s.key]
		if old != nil && r.again(s, old) {
			old.end = s.since
			r.finish(func(x *span) bool { return x == old })
			old = nil
		}
		if old == nil {
			begun = append(begun, s)
		} else {
			old.seen = r.looks
		}
	}
	r.finish(func(s *span) bool { return s.seen != r.looks })
	slices.SortStableFunc(begun, func(a, b *span) int { return cmp.Compare(a.depth(), b.depth()) })
	for _, s := range begun {
		r.begin(s)
	}
	r.addEvents()
	r.count()
}

// again reports whether a span has ended since the look before, and another one with its key has begun: a lock was let go and taken
// again. A hold that began while the look before was taken may have been seen by it, so that it is no other one.
func (r *recorder) again(s, old *span) bool {
	return r.before != nil && !s.since.IsZero() && s.since.After(r.before.Begun.Add(r.before.Took)) && s.since.After(old.since)
}

// begin writes the begin of a span, unless the file has no room for it and for its end.
func (r *recorder) begin(s *span) {
	if r.open == nil {
		r.open = map[key]*span{}
	}
	if !r.room(s.depth()) {
		return
	}
	if s.since.IsZero() {
		s.since = r.now.Begun
	}
	s.seen = r.looks
	if s.inner != nil && r.open[*s.inner] != nil {
		s.id = r.open[*s.inner].id // in the same lane, so that a viewer draws the one in the other
	} else {
		r.ids++
		s.id = r.ids
	}
	r.open[s.key] = s
	r.name(s.pid, s.app)
	r.out.write(event{Name: s.name, Category: s.key.kind, Phase: "b", Time: max(r.at(s.since), 0), Pid: s.pid, ID: s.id, Args: s.args()})
}

// finish writes the ends of the spans that are chosen, the inner ones before those that they lie in.
func (r *recorder) finish(chosen func(*span) bool) {
	var list []*span
	for _, s := range r.open {
		if chosen(s) {
			list = append(list, s)
		}
	}
	slices.SortFunc(list, func(a, b *span) int { return cmp.Or(cmp.Compare(b.depth(), a.depth()), cmp.Compare(a.id, b.id)) })
	for _, s := range list {
		delete(r.open, s.key)
		end := cmp.Or(s.end, r.now.Begun)
		r.out.write(event{Name: s.name, Category: s.key.kind, Phase: "e", Time: max(r.at(end), r.at(s.since), 0), Pid: s.pid, ID: s.id})
	}
}

// room reports whether the file has room for one more event beside the ends of all that goes on.
func (r *recorder) room(more int) bool {
	if r.out.written+int64(len(r.open)+1+more)*eventSize > r.limit {
		r.full = true
	}
	return !r.full
}

// at returns a time in µs since the recording began, as the file has it.
func (r *recorder) at(t time.Time) float64 { return float64(t.Sub(r.begun).Nanoseconds()) / 1000 }
