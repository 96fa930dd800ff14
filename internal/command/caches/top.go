package caches

import (
	"fmt"
	"time"

	"github.com/godsm/godsm/cache"
	"github.com/godsm/godsm/internal/command/cli"
	"github.com/godsm/godsm/internal/survey"
	"github.com/spf13/cobra"
)

// RateRow is a line of cache top: what was done in a second, on the average.
type RateRow struct {
	Name    string  `json:"name"`
	Lookups float64 `json:"lookups_per_second"`
	HitRate float64 `json:"hit_rate"`
	Sets    float64 `json:"sets_per_second"`
	Loads   float64 `json:"loads_per_second"`
	Evicted float64 `json:"evicted_per_second"`
	Entries int     `json:"entries"`
	Used    int64   `json:"used"`
	Limit   int64   `json:"limit"`
}

func (a *app) cacheTopCommand() *cobra.Command {
	var interval time.Duration
	var times int
	cmd := &cobra.Command{
		Use:   "top",
		Short: "Show again and again what is done with each cache in a second",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if interval <= 0 || times < 0 {
				return fmt.Errorf("%w: --interval %v, --times %d", cli.ErrUsage, interval, times)
			}
			return a.cacheTop(cmd, interval, times)
		},
	}
	cmd.Flags().DurationVar(&interval, "interval", time.Second, "the time between two looks")
	cmd.Flags().IntVar(&times, "times", 0, "how often to show it; 0: until it is interrupted")
	return cmd
}

// sample is what a cache had counted at a time.
type sample struct {
	at time.Time
	cache.Stats
}

func (a *app) cacheTop(cmd *cobra.Command, interval time.Duration, times int) error {
	ctx, before := cmd.Context(), map[string]sample{}
	for n := 0; ; n++ {
		rows, now := []RateRow{}, map[string]sample{}
		s, err := survey.Find(ctx, a.Config, cache.Kind, "")
		for _, c := range s.Caches {
			x := sample{s.Begun, c.Stats}
			if old, ok := before[c.Name]; ok && c.Err == nil {
				rows = append(rows, rates(c.Name, old, x))
			}
			if c.Err == nil {
				now[c.Name] = x
			}
		}
		before = now
		if ctx.Err() != nil { // interrupted, as is meant
			return nil
		}
		if err != nil {
			return err
		}
		if n > 0 {
			if err := a.printTop(rows); err != nil {
				return err
			}
		}
		if n == times && times > 0 {
			return nil
		}
		select {
		case <-time.After(interval):
		case <-ctx.Done():
			return nil
		}
	}
}

// rates compares two samples. A cache that was deleted and made anew between them begins at nothing.
func rates(name string, old, now sample) RateRow {
	seconds := now.at.Sub(old.at).Seconds()
	more := func(now, old uint64) float64 { return float64(now - min(now, old)) }
	hits, misses := more(now.Total.Hits, old.Total.Hits), more(now.Total.Misses, old.Total.Misses)
	return RateRow{
		Name: name, Lookups: (hits + misses) / seconds, HitRate: hits / max(hits+misses, 1),
		Sets:    more(now.Total.Sets, old.Total.Sets) / seconds,
		Loads:   more(now.Total.Loads, old.Total.Loads) / seconds,
		Evicted: more(now.Stats.Evicted, old.Stats.Evicted) / seconds,
		Entries: now.Entries, Used: now.Used, Limit: now.Limit,
	}
}

func (a *app) printTop(rows []RateRow) error {
	if a.JSON {
		return a.PrintJSON(rows)
	}
	if a.File != nil && cli.IsTerminal(a.File) {
		fmt.Fprint(a.Stdout, "\x1b[H\x1b[2J")
	}
	return cli.PrintTable(a.App, "NAME\tLOOKUPS/S\tHITS\tSETS/S\tLOADS/S\tEVICTED/S\tENTRIES\tUSED\tLIMIT", rows, func(r RateRow) string {
		return fmt.Sprintf("%s\t%.0f\t%s\t%.0f\t%.0f\t%.0f\t%d\t%s\t%s", r.Name, r.Lookups, cli.Percent(r.HitRate), r.Sets, r.Loads, r.Evicted,
			r.Entries, cli.Size(r.Used), cli.Size(r.Limit))
	})
}
