package caches

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/godsm/godsm/cache"
	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/command/cli"
	"github.com/godsm/godsm/internal/survey"
	"github.com/godsm/godsm/shm/shmsync"
	"github.com/spf13/cobra"
)

// Row is a line of cache ls.
type Row struct {
	Name     string  `json:"name"`
	Version  uint64  `json:"version"`
	Limit    int64   `json:"limit"`
	Used     int64   `json:"used"`
	Entries  int     `json:"entries"`
	Lookups  uint64  `json:"lookups"`
	HitRate  float64 `json:"hit_rate"`
	Evicted  uint64  `json:"evicted"`
	Sessions int     `json:"sessions"`        // that have it attached
	Error    string  `json:"error,omitempty"` // why it can't be read; then the figures say nothing
}

var columns = []cli.Column[Row]{
	{Name: "name", Heading: "NAME", Text: func(r Row) string { return r.Name }},
	cli.Count("version", "VERSION", func(r Row) uint64 { return r.Version }),
	cli.Bytes("limit", "LIMIT", func(r Row) int64 { return r.Limit }),
	cli.Bytes("used", "USED", func(r Row) int64 { return r.Used }),
	cli.Count("entries", "ENTRIES", func(r Row) int { return r.Entries }),
	cli.Count("lookups", "LOOKUPS", func(r Row) uint64 { return r.Lookups }),
	cli.Part("hits", "HITS", func(r Row) float64 { return r.HitRate }),
	cli.Count("evicted", "EVICTED", func(r Row) uint64 { return r.Evicted }),
	cli.Count("sessions", "SESSIONS", func(r Row) int { return r.Sessions }),
	{Name: "error", Heading: "ERROR", Text: func(r Row) string { return cmp.Or(r.Error, "-") }, Extra: true, Tint: func(r Row) cli.Tint {
		if r.Error != "" {
			return cli.Bad
		}
		return cli.Faint
	}},
}

func (a *app) cacheLsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List the caches: limit, entries, hit rate, how many sessions use them",
		Long: `List the caches: limit, entries, hit rate, how many sessions use them.

It looks from outside, as stats, curve and top do: it takes no row and no lock, so it answers when the table of processes is full and
while the processes that use a cache are stopped. What sessions have counted in the last tenth of a second may be missing.`,
		Args: cobra.NoArgs,
	}
	list := cli.NewListing(cmd, columns...)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		s, err := survey.Find(cmd.Context(), a.Config, cache.Kind, "")
		if err != nil {
			return err
		}
		rows := []Row{}
		for _, c := range s.Caches {
			row := Row{Name: c.Name, Version: c.Version, Limit: c.Stats.Limit, Used: c.Stats.Used, Entries: c.Stats.Entries,
				Lookups: c.Stats.Total.Hits + c.Stats.Total.Misses, HitRate: c.Stats.Total.HitRate(), Evicted: c.Stats.Evicted,
				Sessions: len(c.Sessions)}
			if c.Err != nil {
				row.Error = c.Err.Error()
			}
			rows = append(rows, row)
		}
		return list.Show(a.App, rows)
	}
	return cmd
}

// look looks at the cache of that name from outside, and at the sessions. One that can't be read, or is not ready, is an error.
func (a *app) look(ctx context.Context, name string) (c survey.Cache, sessions []dsm.SessionInfo, err error) {
	if name == "" {
		return c, nil, fmt.Errorf("%w: the name of the cache is empty", cli.ErrUsage)
	}
	s, err := survey.Find(ctx, a.Config, cache.Kind, name)
	switch {
	case err != nil:
		return c, nil, err
	case len(s.Caches) == 0:
		return c, nil, fmt.Errorf("cache %q is being made: try again", name)
	case s.Caches[0].Err != nil:
		return c, nil, fmt.Errorf("cache %q: %w", name, s.Caches[0].Err)
	}
	return s.Caches[0], s.Report.Sessions, nil
}

// Counts are what sessions have done, as JSON.
type Counts struct {
	Hits         uint64 `json:"hits"`
	Misses       uint64 `json:"misses"`
	Stale        uint64 `json:"stale"`
	Sets         uint64 `json:"sets"`
	Deletes      uint64 `json:"deletes"`
	Loads        uint64 `json:"loads"`
	LoadFailures uint64 `json:"load_failures"`
	TooLarge     uint64 `json:"too_large"`
}

// SessionRow is the line of one session.
type SessionRow struct {
	Session string `json:"session"`
	Alive   bool   `json:"alive"`
	Counts
}

// LoaderRow is a session that runs the loader of keys.
type LoaderRow struct {
	Session string `json:"session"`
	Pid     int    `json:"pid"`
	App     string `json:"app"`
	State   string `json:"state"`
	Keys    int    `json:"keys"`
}

func (r LoaderRow) String() string {
	return fmt.Sprintf("%d by session %s (process %d, %s, %s)", r.Keys, r.Session, r.Pid, r.App, r.State)
}

// loadersOf returns the sessions that run loaders, in the order of the report's sessions.
func loadersOf(loading []shmsync.Peer, sessions []dsm.SessionInfo) []LoaderRow {
	keys := map[string]int{}
	for _, p := range loading {
		keys[p.String()]++
	}
	rows := []LoaderRow{}
	for _, s := range sessions {
		if n := keys[s.Name]; n > 0 {
			rows = append(rows, LoaderRow{s.Name, s.Pid, s.Application, string(s.State), n})
		}
	}
	return rows
}

// Report is what cache stats prints.
type Report struct {
	Name     string       `json:"name"`
	Limit    int64        `json:"limit"`
	Used     int64        `json:"used"`
	Entries  int          `json:"entries"`
	HitRate  float64      `json:"hit_rate"`
	Total    Counts       `json:"total"`
	Evicted  uint64       `json:"evicted"`
	Forced   uint64       `json:"forced"`
	Crowded  uint64       `json:"crowded"`
	Expired  uint64       `json:"expired"`
	Outdated uint64       `json:"outdated"`
	Deleted  uint64       `json:"deleted"`
	Purged   uint64       `json:"purged"`
	Lost     uint64       `json:"lost"`
	Refused  uint64       `json:"refused"`
	Repaired uint64       `json:"repaired"`
	Window   int          `json:"window_percent"`
	Loading  []LoaderRow  `json:"loading"` // sessions for whose loaders others may wait
	Sessions []SessionRow `json:"sessions"`
}

func (a *app) cacheStatsCommand() *cobra.Command {
	return &cobra.Command{
		ValidArgsFunction: a.First(a.NamesOf(cache.Kind)),
		Use:               "stats NAME",
		Short:             "Show what has been done with a cache, by session, and what its entries have gone by",
		Long: `Show what has been done with a cache, by session, and what its entries have gone by.

"loading" are the keys whose loaders run now, and the sessions that run them: a call of Load that hangs in another session waits for one
of these. After LoadTimeout (30 s, unless the program says otherwise) one that waits runs the loader itself.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, sessions, err := a.look(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			st := c.Stats
			r := Report{
				Name: c.Name, Limit: st.Limit, Used: st.Used, Entries: st.Entries, HitRate: st.Total.HitRate(),
				Total: Counts(st.Total), Evicted: st.Evicted, Forced: st.Forced, Crowded: st.Crowded, Expired: st.Expired,
				Outdated: st.Outdated, Deleted: st.Deleted, Purged: st.Purged, Lost: st.Lost, Refused: st.Refused,
				Repaired: st.Repaired, Window: st.Window, Loading: loadersOf(st.Loading, sessions),
				Sessions: []SessionRow{},
			}
			for _, x := range st.Sessions {
				r.Sessions = append(r.Sessions, SessionRow{x.Session.String(), x.Alive, Counts(x.Counts)})
			}
			if a.JSON {
				return a.PrintJSON(r)
			}
			return a.printCache(r)
		},
	}
}

func (a *app) printCache(r Report) error {
	w := tabwriter.NewWriter(a.Stdout, 0, 0, 2, ' ', 0)
	for _, l := range [][2]string{
		{"name", r.Name},
		{"limit", cli.Size(r.Limit)},
		{"used", cli.Size(r.Used)},
		{"entries", fmt.Sprint(r.Entries)},
		{"lookups", fmt.Sprintf("%d, %s hits, %d stale", r.Total.Hits+r.Total.Misses, cli.Percent(r.HitRate), r.Total.Stale)},
		{"sets", fmt.Sprintf("%d, %d too large", r.Total.Sets, r.Total.TooLarge)},
		{"loads", fmt.Sprintf("%d, %d without a value, %d not stored", r.Total.Loads, r.Total.LoadFailures, r.Refused)},
		{"loading", loadingText(r.Loading)},
		{"evicted", fmt.Sprintf("%d, of these %d forced, %d crowded", r.Evicted, r.Forced, r.Crowded)},
		{"gone", fmt.Sprintf("%d expired, %d outdated, %d deleted, %d purged, %d lost", r.Expired, r.Outdated, r.Deleted, r.Purged, r.Lost)},
		{"repairs", fmt.Sprint(r.Repaired)},
		{"window", fmt.Sprintf("%d %% of the limit", r.Window)},
	} {
		fmt.Fprintf(w, "%s\t%s\n", l[0], l[1])
	}
	if err := w.Flush(); err != nil || len(r.Sessions) == 0 {
		return err
	}
	fmt.Fprintln(a.Stdout)
	return cli.PrintTable(a.App, "SESSION\tALIVE\tHITS\tMISSES\tSTALE\tSETS\tDELETES\tLOADS", r.Sessions, func(x SessionRow) string {
		return fmt.Sprintf("%s\t%s\t%d\t%d\t%d\t%d\t%d\t%d", x.Session, cli.Yes(x.Alive), x.Hits, x.Misses, x.Stale, x.Sets, x.Deletes, x.Loads)
	})
}

func loadingText(rows []LoaderRow) string {
	if len(rows) == 0 {
		return "none"
	}
	var parts []string
	for _, r := range rows {
		parts = append(parts, cli.Printable(r.String()))
	}
	return strings.Join(parts, "; ")
}

// CurveRow is a line of cache curve.
type CurveRow struct {
	Times   float64 `json:"times"`
	Limit   int64   `json:"limit"`
	HitRate float64 `json:"hit_rate"`
}

func (a *app) cacheCurveCommand() *cobra.Command {
	return &cobra.Command{
		ValidArgsFunction: a.First(a.NamesOf(cache.Kind)),
		Use:               "curve NAME",
		Short:             "Show what a smaller or a larger cache would hit, as models say that see a sample of the keys",
		Long: `Show what a cache of half, one, two and four times the limit would hit, as models say that see a sample of the keys that are asked
for. There is nothing to show while too little is known, for a cache of less than about 16,000 entries, which has no models, and
for one that favours objects.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, _, err := a.look(cmd.Context(), args[0])
			rows := []CurveRow{}
			for _, p := range c.Curve {
				rows = append(rows, CurveRow{p.Times, int64(p.Times * float64(c.Stats.Limit)), p.HitRate})
			}
			switch {
			case err != nil:
				return err
			case a.JSON:
				return a.PrintJSON(rows)
			case len(rows) == 0:
				_, err := fmt.Fprintln(a.Stdout, "too little is known of this cache, or it has no models")
				return err
			}
			return cli.PrintTable(a.App, "TIMES\tLIMIT\tHITS", rows, func(r CurveRow) string {
				return fmt.Sprintf("%g\t%s\t%s", r.Times, cli.Size(r.Limit), cli.Percent(r.HitRate))
			})
		},
	}
}
