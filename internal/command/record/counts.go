package record

import (
	"encoding/json"

	"github.com/godsm/godsm/internal/survey"
)

// count writes the counters that have changed since they were written last. A viewer draws a counter as a stair.
func (r *recorder) count() {
	s, b, at := &r.now, r.before, r.at(r.now.Begun)
	seconds := s.Since(b)
	st := s.Report.Status
	r.counter(at, "segments", values{"segments": float64(st.Segments)})
	r.counter(at, "memory", values{"bytes": float64(st.Bytes)})
	r.counter(at, "sessions", values{"sessions": float64(st.Sessions)})
	if seconds == 0 {
		return // rates are differences of two looks at one generation
	}
	now, old := st.Counters, b.Report.Status.Counters
	r.counter(at, "done in a second", values{"creates": rate(now.Creates, old.Creates, seconds), "attaches": rate(now.Attaches, old.Attaches, seconds),
		"detaches": rate(now.Detaches, old.Detaches, seconds)})
	r.counter(at, "control lock waits in a second", values{"waits": rate(now.LockWaits, old.LockWaits, seconds)})
	r.caches(at, seconds)
	r.queues(at, seconds)
}

// caches writes the counters of each cache that was there at the look before, too.
func (r *recorder) caches(at, seconds float64) {
	old := map[string]*survey.Cache{}
	for i := range r.before.Caches {
		old[r.before.Caches[i].Name] = &r.before.Caches[i]
	}
	for _, c := range r.now.Caches {
		b := old[c.Name]
		if c.Err != nil || b == nil || b.Err != nil || b.Handle != c.Handle {
			continue
		}
		now, was := c.Stats, b.Stats
		r.counter(at, "cache "+c.Name+": lookups in a second", values{"hits": rate(now.Total.Hits, was.Total.Hits, seconds),
			"misses": rate(now.Total.Misses, was.Total.Misses, seconds)})
		r.counter(at, "cache "+c.Name+": stores in a second", values{"sets": rate(now.Total.Sets, was.Total.Sets, seconds),
			"loads": rate(now.Total.Loads, was.Total.Loads, seconds), "evicted": rate(now.Evicted, was.Evicted, seconds)})
		r.counter(at, "cache "+c.Name+": used", values{"bytes": float64(now.Used)})
	}
}

// queues writes the counters of each queue.
func (r *recorder) queues(at, seconds float64) {
	old := map[string]*survey.Queue{}
	for i := range r.before.Queues {
		old[r.before.Queues[i].Name] = &r.before.Queues[i]
	}
	for _, q := range r.now.Queues {
		if q.Err != nil {
			continue
		}
		r.counter(at, "queue "+q.Name, values{"waiting": float64(q.Stats.Waiting), "flushing": float64(q.Stats.Flushing)})
		if b := old[q.Name]; b != nil && b.Err == nil {
			r.counter(at, "queue "+q.Name+": done in a second", values{"commands": rate(q.Stats.Commands, b.Stats.Commands, seconds),
				"commits": rate(q.Stats.Commits, b.Stats.Commits, seconds)})
		}
	}
}

// values are those of a counter, by their names.
type values map[string]float64

// counter writes a counter of the instance, unless it is as it was written last.
func (r *recorder) counter(at float64, name string, v values) {
	text, err := json.Marshal(v)
	if err != nil || r.last[name] == string(text) {
		return
	}
	if r.last == nil {
		r.last = map[string]string{}
	}
	if !r.room(0) {
		return
	}
	r.last[name] = string(text)
	pid := r.now.Report.Status.Supervisor
	r.name(pid, "")
	r.out.write(event{Name: name, Phase: "C", Time: at, Pid: pid, Args: v.args()})
}

func (v values) args() map[string]any {
	args := map[string]any{}
	for name, x := range v {
		args[name] = x
	}
	return args
}

// rate returns how much a count went up in a second. One that went down began anew.
func rate(now, before uint64, seconds float64) float64 {
	return float64(now-min(now, before)) / seconds
}
