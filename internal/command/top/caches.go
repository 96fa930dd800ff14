package top

import (
	"cmp"
	"fmt"

	"github.com/godsm/godsm/internal/command/cli"
	"github.com/godsm/godsm/internal/survey"
)

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

// known returns the text of a part of 1 that may be unknown.
func known(part float64, sign string) string {
	if part < 0 {
		return "-"
	}
	return sign + cli.Percent(part)
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
