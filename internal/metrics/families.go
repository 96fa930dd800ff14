package metrics

import (
	"strconv"
	"time"

	"github.com/godsm/godsm/batch/shared"
	"github.com/godsm/godsm/cache"
	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/survey"
)

// Families returns all metrics of an instance, in a fixed order. There are no samples for single segments, names of locks, or
// sessions: there may be tens of thousands, and they come and go. The page and the command list them.
//
// Of an instance that can't be seen, err says why, and dsm_up is all there is.
func Families(s survey.Survey, err error) []Family {
	up := family("dsm_up", Gauge, "Whether the instance could be seen.")
	if err != nil {
		up.add(0)
		return []Family{up}
	}
	up.add(1)
	list := []Family{up}
	list = append(list, instanceFamilies(s.Report.Status, s.Took)...)
	list = append(list, counterFamilies(s.Report.Status.Counters)...)
	list = append(list, segmentFamilies(s.Report)...)
	list = append(list, sessionFamilies(s.Report)...)
	list = append(list, nameFamilies(s)...)
	list = append(list, cacheFamilies(s.Caches)...)
	list = append(list, lockFamilies(s.Tables)...)
	return append(list, queueFamilies(s.Queues)...)
}

// one returns a family of one sample without labels.
func one(name string, t Type, help string, value float64) Family {
	f := family(name, t, help)
	f.add(value)
	return f
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func instanceFamilies(st dsm.Status, took time.Duration) []Family {
	info := family("dsm_instance_info", Gauge, "The instance; always 1.", "id", "backend")
	info.add(1, st.Instance.String(), st.Backend)
	return []Family{
		info,
		one("dsm_generation", Gauge, "Number of the generation. All counters begin at 0 with it.", float64(st.Generation)),
		one("dsm_supervised", Gauge, "Whether a supervisor lives.", truth(st.Supervised)),
		one("dsm_closing", Gauge, "Whether the instance is being stopped.", truth(st.Closing)),
		one("dsm_sessions_limit", Gauge, "max_processes.", float64(st.MaxProcesses)),
		one("dsm_segments", Gauge, "Segments that there are.", float64(st.Segments)),
		one("dsm_segments_limit", Gauge, "max_segments.", float64(st.MaxSegments)),
		one("dsm_memory_bytes", Gauge, "Sizes of all segments.", float64(st.Bytes)),
		one("dsm_memory_limit_bytes", Gauge, "max_memory; 0 is no limit.", float64(st.MaxMemory)),
		one("dsm_reserved_bytes", Gauge, "Size of the reserved region; 0 is none.", float64(st.Reserved)),
		one("dsm_reserved_used_bytes", Gauge, "Bytes of the reserved region that segments have, in whole pages.",
			float64(st.ReservedUsed)),
		one("dsm_control_lock_held", Gauge, "Whether the control lock was held when it was looked at.",
			truth(st.LockHolder != nil)),
		one("dsm_scrape_duration_seconds", Gauge, "How long it took to look at the instance.", took.Seconds()),
	}
}

func counterFamilies(c dsm.Counters) []Family {
	refused := family("dsm_refusals_total", Counter, "What was refused, by reason.", "reason")
	for _, x := range []struct {
		reason string
		n      uint64
	}{
		{"max_segments", c.Refused.Segments}, {"max_memory", c.Refused.Memory}, {"session_limit", c.Refused.Session},
		{"system", c.Refused.System}, {"max_processes", c.JoinsRefused}, {"not_found", c.NotFound},
		{"control_lock", c.LockRefused},
	} {
		refused.add(float64(x.n), x.reason)
	}
	last := 0.0
	if !c.LastReclaim.IsZero() {
		last = float64(c.LastReclaim.UnixNano()) / 1e9
	}
	return []Family{
		one("dsm_creates_total", Counter, "Segments made.", float64(c.Creates)),
		one("dsm_created_bytes_total", Counter, "Sizes of the segments made.", float64(c.CreatedBytes)),
		one("dsm_attaches_total", Counter, "References taken to segments of other sessions.", float64(c.Attaches)),
		one("dsm_detaches_total", Counter, "References given back one by one.", float64(c.Detaches)),
		one("dsm_returned_references_total", Counter, "References given back for dead sessions, or when a session closed.",
			float64(c.Returned)),
		one("dsm_joins_total", Counter, "Sessions that have joined.", float64(c.Joins)),
		one("dsm_reclaims_total", Counter, "Processes that died and whose rights were given back.", float64(c.Reclaims)),
		one("dsm_reclaim_seconds_total", Counter, "Time spent on giving back what dead sessions held.", c.ReclaimTime.Seconds()),
		one("dsm_last_reclaim_timestamp_seconds", Gauge, "When a dead process was reclaimed last; 0 if none was.", last),
		refused,
		one("dsm_control_lock_waits_total", Counter, "Waits for the control lock.", float64(c.LockWaits)),
		one("dsm_control_lock_wait_seconds_total", Counter, "Time spent in waits for the control lock.", c.LockWaited.Seconds()),
		one("dsm_events_total", Counter, "Events of the generation.", float64(c.Events)),
	}
}

func segmentFamilies(r dsm.Report) []Family {
	states := map[dsm.SegmentState]int{}
	var pinned, failed int
	var pinnedBytes float64
	for i := range r.Segments {
		g := &r.Segments[i]
		states[g.State]++
		if g.Pinned {
			pinned++
			pinnedBytes += float64(g.Size)
		}
		if g.Failed != nil {
			failed++
		}
	}
	by := family("dsm_segments_by_state", Gauge, "Segments, by state.", "state")
	for _, state := range []dsm.SegmentState{dsm.SegmentCreating, dsm.SegmentLive, dsm.SegmentDestroying, dsm.SegmentCorrupt} {
		by.add(float64(states[state]), state.String())
	}
	return []Family{
		by,
		one("dsm_pinned_segments", Gauge, "Segments that are pinned.", float64(pinned)),
		one("dsm_pinned_bytes", Gauge, "Sizes of the segments that are pinned.", pinnedBytes),
		one("dsm_unremoved_segments", Gauge, "Segments that the system has refused to remove; it is tried again.", float64(failed)),
	}
}

func sessionFamilies(r dsm.Report) []Family {
	states := map[dsm.SessionState]int{}
	for i := range r.Sessions {
		states[r.Sessions[i].State]++
	}
	by := family("dsm_sessions", Gauge, "Sessions, by state.", "state")
	for _, state := range []dsm.SessionState{dsm.SessionRunning, dsm.SessionStopped, dsm.SessionClosing, dsm.SessionDead, dsm.SessionUnseen} {
		by.add(float64(states[state]), state.String())
	}
	type sum struct{ sessions, segments, bytes float64 }
	sums, order := map[string]*sum{}, []string{}
	for i := range r.Sessions {
		x := &r.Sessions[i]
		app := Clean(x.Application)
		s := sums[app]
		if s == nil {
			if len(order) >= maxApplications {
				app = "(others)"
			}
			if s = sums[app]; s == nil {
				s = &sum{}
				sums[app] = s
				order = append(order, app)
			}
		}
		s.sessions, s.segments, s.bytes = s.sessions+1, s.segments+float64(x.Segments), s.bytes+float64(x.Bytes)
	}
	sessions := family("dsm_application_sessions", Gauge, "Sessions, by application.", "application")
	held := family("dsm_application_references", Gauge, "References held, by application.", "application")
	bytes := family("dsm_application_bytes", Gauge, "Sizes of the segments held, by application. One that several sessions hold counts for each.",
		"application")
	for _, app := range order {
		sessions.add(sums[app].sessions, app)
		held.add(sums[app].segments, app)
		bytes.add(sums[app].bytes, app)
	}
	return []Family{by, sessions, held, bytes}
}

// maxApplications bounds the series that names which a program chooses can make.
const maxApplications = 50

func nameFamilies(s survey.Survey) []Family {
	kinds := family("dsm_names", Gauge, "Names, by kind of what they stand for.", "kind")
	n, order := map[string]int{}, []string{}
	for _, x := range s.Names {
		if n[x.Kind]++; n[x.Kind] == 1 {
			order = append(order, x.Kind)
		}
	}
	for _, k := range order {
		kinds.add(float64(n[k]), k)
	}
	unreadable := truth(s.Err != nil)
	for _, c := range s.Caches {
		unreadable += truth(c.Err != nil)
	}
	for _, t := range s.Tables {
		unreadable += truth(t.Err != nil)
	}
	for _, q := range s.Queues {
		unreadable += truth(q.Err != nil)
	}
	return []Family{kinds, one("dsm_unreadable_names", Gauge, "Caches, lock tables and queues that could not be read.", unreadable)}
}

func cacheFamilies(list []survey.Cache) []Family {
	type figure struct {
		name string
		t    Type
		help string
		of   func(*cache.Stats) float64
	}
	var families []Family
	for _, f := range []figure{
		{"dsm_cache_limit_bytes", Gauge, "What the cache may use.", func(s *cache.Stats) float64 { return float64(s.Limit) }},
		{"dsm_cache_used_bytes", Gauge, "Bytes of records, with what is dead in them.", func(s *cache.Stats) float64 { return float64(s.Used) }},
		{"dsm_cache_entries", Gauge, "Entries.", func(s *cache.Stats) float64 { return float64(s.Entries) }},
		{"dsm_cache_hits_total", Counter, "Lookups that found an entry.", func(s *cache.Stats) float64 { return float64(s.Total.Hits) }},
		{"dsm_cache_misses_total", Counter, "Lookups that found none.", func(s *cache.Stats) float64 { return float64(s.Total.Misses) }},
		{"dsm_cache_stale_total", Counter, "Lookups that got an entry beyond its TTL.", func(s *cache.Stats) float64 { return float64(s.Total.Stale) }},
		{"dsm_cache_sets_total", Counter, "Entries stored.", func(s *cache.Stats) float64 { return float64(s.Total.Sets) }},
		{"dsm_cache_deletes_total", Counter, "Deletes.", func(s *cache.Stats) float64 { return float64(s.Total.Deletes) }},
		{"dsm_cache_loads_total", Counter, "Runs of a loader.", func(s *cache.Stats) float64 { return float64(s.Total.Loads) }},
		{"dsm_cache_load_failures_total", Counter, "Runs of a loader without a value.", func(s *cache.Stats) float64 { return float64(s.Total.LoadFailures) }},
		{"dsm_cache_too_large_total", Counter, "Values that were refused, since they are too large.", func(s *cache.Stats) float64 { return float64(s.Total.TooLarge) }},
		{"dsm_cache_repairs_total", Counter, "Repairs after a death or a stray store.", func(s *cache.Stats) float64 { return float64(s.Repaired) }},
	} {
		x := family(f.name, f.t, f.help, "cache")
		for i := range list {
			if list[i].Err == nil {
				x.add(f.of(&list[i].Stats), list[i].Name)
			}
		}
		families = append(families, x)
	}
	gone := family("dsm_cache_evictions_total", Counter, "Entries that went, by cause.", "cache", "cause")
	curve := family("dsm_cache_curve_ratio", Gauge, "What part of the lookups a cache of so many times the size would hit.",
		"cache", "times")
	for i := range list {
		c := &list[i]
		if c.Err != nil {
			continue
		}
		s := &c.Stats
		room := s.Evicted - min(s.Forced+s.Crowded, s.Evicted) // the others are told on their own
		for _, x := range []struct {
			cause string
			n     uint64
		}{
			{"room", room}, {"forced", s.Forced}, {"crowded", s.Crowded}, {"expired", s.Expired},
			{"outdated", s.Outdated}, {"deleted", s.Deleted}, {"purged", s.Purged}, {"lost", s.Lost},
		} {
			gone.add(float64(x.n), c.Name, x.cause)
		}
		for _, p := range c.Curve {
			curve.add(p.HitRate, c.Name, strconv.FormatFloat(p.Times, 'g', -1, 64))
		}
	}
	return append(families, gone, curve)
}

func lockFamilies(list []survey.Table) []Family {
	held := family("dsm_locks_held", Gauge, "Locks of a lock table that are held.", "table")
	waiters := family("dsm_lock_waiters", Gauge, "Waiters for locks of a lock table.", "table")
	longest := family("dsm_lock_longest_wait_seconds", Gauge, "How long the longest of the present waiters has waited.", "table")
	dirty := family("dsm_locks_unrepaired", Gauge, "Locks whose holder died, and of which no one has said Repaired.", "table")
	for i := range list {
		t := &list[i]
		if t.Err != nil {
			continue
		}
		var h, w, d float64
		var wait time.Duration
		for _, l := range t.Locks {
			h += truth(len(l.Holders) > 0)
			w += float64(len(l.Waiters))
			d += truth(l.Died > 0)
			for _, p := range l.Waiters {
				wait = max(wait, p.For)
			}
		}
		held.add(h, t.Name)
		waiters.add(w, t.Name)
		longest.add(wait.Seconds(), t.Name)
		dirty.add(d, t.Name)
	}
	return []Family{held, waiters, longest, dirty}
}

func queueFamilies(list []survey.Queue) []Family {
	type figure struct {
		name string
		t    Type
		help string
		of   func(*shared.Stats) float64
	}
	var families []Family
	for _, f := range []figure{
		{"dsm_queue_slots", Gauge, "Places of the queue.", func(s *shared.Stats) float64 { return float64(s.Slots) }},
		{"dsm_queue_waiting", Gauge, "Commands that wait.", func(s *shared.Stats) float64 { return float64(s.Waiting) }},
		{"dsm_queue_flushing", Gauge, "Commands in the leader's flush.", func(s *shared.Stats) float64 { return float64(s.Flushing) }},
		{"dsm_queue_oldest_seconds", Gauge, "How long the oldest command has waited.", func(s *shared.Stats) float64 { return s.Oldest.Seconds() }},
		{"dsm_queue_has_leader", Gauge, "Whether a session leads.", func(s *shared.Stats) float64 { return truth(s.Leader.Row >= 0) }},
		{"dsm_queue_in_trouble", Gauge, "Whether a flush is tried again.", func(s *shared.Stats) float64 { return truth(s.Trouble != "") }},
		{"dsm_queue_flush_p99_seconds", Gauge, "99th percentile of the time of a flush.", func(s *shared.Stats) float64 { return s.P99.Seconds() }},
		{"dsm_queue_commands_total", Counter, "Commands.", func(s *shared.Stats) float64 { return float64(s.Commands) }},
		{"dsm_queue_failed_total", Counter, "Commands that failed.", func(s *shared.Stats) float64 { return float64(s.Failed) }},
		{"dsm_queue_commits_total", Counter, "Commits.", func(s *shared.Stats) float64 { return float64(s.Commits) }},
		{"dsm_queue_retries_total", Counter, "Flushes tried again.", func(s *shared.Stats) float64 { return float64(s.Retries) }},
		{"dsm_queue_takeovers_total", Counter, "Leaders whose place another session took.", func(s *shared.Stats) float64 { return float64(s.Takeovers) }},
		{"dsm_queue_dropped_total", Counter, "Commands of dead processes.", func(s *shared.Stats) float64 { return float64(s.Dropped) }},
		{"dsm_queue_unsettled_total", Counter, "Commits of which the database could not tell.", func(s *shared.Stats) float64 { return float64(s.Unsettled) }},
	} {
		x := family(f.name, f.t, f.help, "queue")
		for i := range list {
			if list[i].Err == nil {
				x.add(f.of(&list[i].Stats), list[i].Name)
			}
		}
		families = append(families, x)
	}
	return families
}
