package top

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/command/cli"
	"github.com/godsm/godsm/internal/command/inspect"
	"github.com/godsm/godsm/internal/command/locks"
	"github.com/godsm/godsm/internal/survey"
)

// titles returns the names of the views, in their order.
func titles() []string {
	return []string{"sessions", "segments", "names", "caches", "locks", "queues", "events"}
}

func sheets() []view {
	return []view{sessions(), segments(), names(), caches(), lockLines(), queueLines(), events()}
}

// indexOf returns the index of a column.
func indexOf[R any](columns []cli.Column[R], name string) int {
	return slices.IndexFunc(columns, func(c cli.Column[R]) bool { return c.Name == name })
}

// sessionRow is a line of the sessions.
type sessionRow struct {
	inspect.SessionRow
	Creates  float64 `json:"creates_per_second"`
	Attaches float64 `json:"attaches_per_second"`
}

var sessionColumns = func() (list []cli.Column[sessionRow]) {
	for _, c := range inspect.SessionColumns {
		x := cli.Column[sessionRow]{Name: c.Name, Heading: c.Heading, Whole: c.Whole, Extra: c.Extra,
			Text: func(r sessionRow) string { return c.Text(r.SessionRow) }}
		if c.Number != nil {
			x.Number = func(r sessionRow) float64 { return c.Number(r.SessionRow) }
		}
		if c.Tint != nil {
			x.Tint = func(r sessionRow) cli.Tint { return c.Tint(r.SessionRow) }
		}
		list = append(list, x)
	}
	return append(list,
		cli.Column[sessionRow]{Name: "creates", Heading: "CREATES/S", Text: func(r sessionRow) string { return fmt.Sprintf("%.0f", r.Creates) },
			Number: func(r sessionRow) float64 { return r.Creates }},
		cli.Column[sessionRow]{Name: "attaches", Heading: "ATTACHES/S", Text: func(r sessionRow) string { return fmt.Sprintf("%.0f", r.Attaches) },
			Number: func(r sessionRow) float64 { return r.Attaches }})
}()

func sessionRows(now, before *picture) (rows []sessionRow) {
	old, seconds := map[string]dsm.Done{}, now.Since(before)
	if before != nil {
		for _, s := range before.Report.Sessions {
			old[s.Name] = s.Done
		}
	}
	done := map[string]dsm.Done{}
	for _, s := range now.Report.Sessions {
		done[s.Name] = s.Done
	}
	for _, r := range inspect.Sessions(now.Report) {
		x, b := done[r.Session], old[r.Session]
		rows = append(rows, sessionRow{r, rate(x.Creates, b.Creates, seconds), rate(x.Attaches, b.Attaches, seconds)})
	}
	return rows
}

func sessions() view {
	return &sheet[sessionRow]{
		title: "sessions", columns: sessionColumns, by: indexOf(sessionColumns, "bytes"), down: true,
		lines: sessionRows,
		key:   func(r sessionRow) string { return r.Session },
		look: func(r sessionRow, now *picture) (list []string) {
			list = append(lockLinesOf(now, r.Pid), "", "segments that it holds:")
			byHandle := namesOf(now)
			for _, s := range now.Report.Segments {
				for _, h := range s.Holders {
					if h.Name == r.Session {
						list = append(list, fmt.Sprintf("  %v  %10s  %s", s.Handle, cli.Size(int64(s.Size)), byHandle(s.Handle.String())))
					}
				}
			}
			return list
		},
	}
}

// namesOf returns what finds the name of a segment.
func namesOf(now *picture) func(handle string) string {
	found := map[string]string{}
	for _, x := range now.Names {
		found[x.Handle.String()] = fmt.Sprintf("%s (%s)", x.Name, x.Kind)
	}
	return func(handle string) string { return found[handle] }
}

// lockLinesOf returns the locks that sessions of a process hold or wait for.
func lockLinesOf(now *picture, pid int) (list []string) {
	list = append(list, "", "locks:")
	for _, r := range locks.Rows(now) {
		for _, p := range r.Holders {
			if p.Pid == pid {
				list = append(list, fmt.Sprintf("  holds %s %s of %s %s", r.Name, p.Mode, r.Table, since(p.Seconds)))
			}
		}
	}
	for _, e := range locks.Edges(now) {
		switch pid {
		case e.Waiter.Pid:
			list = append(list, fmt.Sprintf("  waits for %s (%s), which %s %s", e.Name, e.Wanted, e.Holder, e.Holding))
		case e.Holder.Pid:
			list = append(list, fmt.Sprintf("  %s waits for it: %s (%s)", e.Waiter, e.Name, e.Wanted))
		}
	}
	return list
}

func since(seconds float64) string {
	return "for " + time.Duration(seconds*float64(time.Second)).Round(100*time.Millisecond).String()
}

func segments() view {
	return &sheet[inspect.SegmentRow]{
		title: "segments", columns: inspect.SegmentColumns, by: indexOf(inspect.SegmentColumns, "size"), down: true,
		lines: func(now, _ *picture) []inspect.SegmentRow { return inspect.Segments(now.Report, now.Names) },
		key:   func(r inspect.SegmentRow) string { return r.Handle.String() },
		look: func(r inspect.SegmentRow, now *picture) (list []string) {
			list = append(list, "", "sessions that hold it:")
			for _, h := range r.Holders {
				list = append(list, fmt.Sprintf("  %s  process %d (%s)", h.Session, h.Pid, h.App))
			}
			return list
		},
	}
}

func names() view {
	return &sheet[inspect.NameRow]{
		title: "names", columns: inspect.NameColumns, by: indexOf(inspect.NameColumns, "name"),
		lines: func(now, _ *picture) []inspect.NameRow { return inspect.Names(now.Names) },
		key:   func(r inspect.NameRow) string { return r.Name },
		look: func(r inspect.NameRow, now *picture) (list []string) {
			list = append(list, "", "sessions that have it attached:")
			for _, h := range r.Sessions {
				list = append(list, fmt.Sprintf("  %s  process %d (%s)", h.Session, h.Pid, h.App))
			}
			return list
		},
	}
}

// cacheRow is a line of the caches.
type cacheRow struct {
	Name     string  `json:"name"`
	Limit    int64   `json:"limit"`
	Used     int64   `json:"used"`
	Entries  int     `json:"entries"`
	Lookups  float64 `json:"lookups_per_second"`
	HitRate  float64 `json:"hit_rate"`                         // since it was made
	Recent   float64 `json:"hit_rate_now"`                     // between two looks; -1: nothing was looked up
	Double   float64 `json:"hit_rate_gain_of_twice_the_limit"` // -1: unknown
	Sets     float64 `json:"sets_per_second"`
	Evicted  float64 `json:"evicted_per_second"`
	Sessions int     `json:"sessions"`
	Error    string  `json:"error,omitempty"`
}

// known returns the text of a part of 1 that may be unknown.
func known(part float64, sign string) string {
	if part < 0 {
		return "-"
	}
	return sign + cli.Percent(part)
}

var cacheColumns = []cli.Column[cacheRow]{
	{Name: "name", Heading: "NAME", Text: func(r cacheRow) string { return r.Name }},
	{Name: "lookups", Heading: "LOOKUPS/S", Text: func(r cacheRow) string { return fmt.Sprintf("%.0f", r.Lookups) },
		Number: func(r cacheRow) float64 { return r.Lookups }},
	{Name: "now", Heading: "HITS NOW", Text: func(r cacheRow) string { return known(r.Recent, "") },
		Number: func(r cacheRow) float64 { return r.Recent }},
	cli.Part("hits", "HITS", func(r cacheRow) float64 { return r.HitRate }),
	{Name: "double", Heading: "TWICE BRINGS", Text: func(r cacheRow) string { return known(r.Double, "+") },
		Number: func(r cacheRow) float64 { return r.Double }},
	{Name: "sets", Heading: "SETS/S", Text: func(r cacheRow) string { return fmt.Sprintf("%.0f", r.Sets) },
		Number: func(r cacheRow) float64 { return r.Sets }},
	{Name: "evicted", Heading: "EVICTED/S", Text: func(r cacheRow) string { return fmt.Sprintf("%.0f", r.Evicted) },
		Number: func(r cacheRow) float64 { return r.Evicted }},
	cli.Count("entries", "ENTRIES", func(r cacheRow) int { return r.Entries }),
	cli.Bytes("used", "USED", func(r cacheRow) int64 { return r.Used }),
	cli.Bytes("limit", "LIMIT", func(r cacheRow) int64 { return r.Limit }),
	cli.Count("sessions", "SESSIONS", func(r cacheRow) int { return r.Sessions }),
	{Name: "error", Heading: "ERROR", Text: func(r cacheRow) string { return cmp.Or(r.Error, "-") },
		Tint: func(r cacheRow) cli.Tint {
			if r.Error != "" {
				return cli.Bad
			}
			return cli.Faint
		}},
}

func cacheRows(now, before *picture) (rows []cacheRow) {
	old, seconds := map[string]survey.Cache{}, now.Since(before)
	if before != nil {
		for _, c := range before.Caches {
			old[c.Name] = c
		}
	}
	for _, c := range now.Caches {
		r := cacheRow{Name: c.Name, Limit: c.Stats.Limit, Used: c.Stats.Used, Entries: c.Stats.Entries,
			HitRate: c.Stats.Total.HitRate(), Recent: -1, Double: gain(c), Sessions: len(c.Sessions)}
		if c.Err != nil {
			r.Error = c.Err.Error()
		}
		if b, ok := old[c.Name]; ok && b.Handle == c.Handle && c.Err == nil && b.Err == nil {
			hits, misses := rate(c.Stats.Total.Hits, b.Stats.Total.Hits, seconds), rate(c.Stats.Total.Misses, b.Stats.Total.Misses, seconds)
			if r.Lookups = hits + misses; r.Lookups > 0 {
				r.Recent = hits / r.Lookups
			}
			r.Sets, r.Evicted = rate(c.Stats.Total.Sets, b.Stats.Total.Sets, seconds), rate(c.Stats.Evicted, b.Stats.Evicted, seconds)
		}
		rows = append(rows, r)
	}
	return rows
}

// gain returns what part of the lookups would be hits besides if the cache had twice its limit; -1 if it is not known.
func gain(c survey.Cache) float64 {
	one, two := -1.0, -1.0
	for _, p := range c.Curve {
		switch p.Times {
		case 1:
			one = p.HitRate
		case 2:
			two = p.HitRate
		}
	}
	if one < 0 || two < 0 {
		return -1
	}
	return max(two-one, 0)
}

func caches() view {
	return &sheet[cacheRow]{
		title: "caches", columns: cacheColumns, by: indexOf(cacheColumns, "lookups"), down: true, lines: cacheRows,
		key: func(r cacheRow) string { return r.Name },
		look: func(r cacheRow, now *picture) (list []string) {
			for _, c := range now.Caches {
				if c.Name != r.Name {
					continue
				}
				s := c.Stats
				list = append(list, "", fmt.Sprintf("used           %s %s of %s", bar(float64(s.Used)/float64(max(s.Limit, 1)), 30), cli.Size(s.Used), cli.Size(s.Limit)))
				for _, p := range c.Curve {
					list = append(list, fmt.Sprintf("%4g x limit   %s %s hits", p.Times, bar(p.HitRate, 30), cli.Percent(p.HitRate)))
				}
				if len(c.Curve) == 0 {
					list = append(list, "too little is known of what another size would hit, or it has no models")
				}
				list = append(list, "", fmt.Sprintf("gone           %d evicted, %d expired, %d outdated, %d deleted, %d purged, %d lost",
					s.Evicted, s.Expired, s.Outdated, s.Deleted, s.Purged, s.Lost),
					fmt.Sprintf("loads          %d, %d without a value; %d repairs", s.Total.Loads, s.Total.LoadFailures, s.Repaired))
				for _, x := range s.Sessions {
					list = append(list, fmt.Sprintf("session %-8v alive %-3s %d lookups, %s hits, %d sets", x.Session, cli.Yes(x.Alive), x.Hits+x.Misses,
						cli.Percent(x.HitRate()), x.Sets))
				}
			}
			return list
		},
	}
}

func lockLines() view {
	return &sheet[locks.Line]{
		title: "locks", columns: locks.Columns, by: indexOf(locks.Columns, "for"), down: true,
		lines: func(now, _ *picture) []locks.Line { return locks.Lines(locks.Rows(now)) },
		key:   func(l locks.Line) string { return l.Table + "\x00" + l.Name + "\x00" + l.Who + "\x00" + l.What },
		look: func(l locks.Line, now *picture) (list []string) {
			list = append(list, "", "who waits for whom:")
			for _, e := range locks.Edges(now) {
				if e.Table == l.Table && e.Name == l.Name {
					list = append(list, fmt.Sprintf("  %s wants %s; %s %s", e.Waiter, e.Wanted, e.Holder, e.Holding))
				}
			}
			return list
		},
	}
}
