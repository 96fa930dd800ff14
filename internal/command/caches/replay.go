package caches

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"strings"

	"github.com/godsm/godsm/cache"
	"github.com/godsm/godsm/internal/command/cli"
	"github.com/godsm/godsm/internal/command/stdin"
	"github.com/godsm/godsm/internal/settings"
	"github.com/godsm/godsm/internal/trace"
	"github.com/spf13/cobra"
)

// ReplayResult is what replay prints.
type ReplayResult struct {
	Accesses  int     `json:"accesses"`
	Unique    int     `json:"unique"` // keys
	Hits      int     `json:"hits"`
	HitRate   float64 `json:"hit_rate"`
	Entries   int     `json:"entries"` // the mean, from the first eviction on; without one, those at the end
	Bytes     int64   `json:"bytes"`   // of the keys and values of these
	Limit     int64   `json:"limit"`
	Evictions uint64  `json:"evictions"`
}

// replaySpec is what replay is asked for.
type replaySpec struct {
	entries   int   // or limit
	limit     int64 // bytes
	size      int   // of each value, if it is given or the traces have none
	sizeGiven bool
	objects   bool
	traces    []trace.Trace
	unique    int
}

func (a *app) cacheReplayCommand() *cobra.Command {
	var spec replaySpec
	var limit, favour, format string
	cmd := &cobra.Command{
		Use:   "replay (--entries N | --limit SIZE) --format FORMAT FILE...",
		Short: "Replay a trace of accesses through a cache, and print how many would be hits",
		Long: `Replay the accesses in FILE (standard input for -) through a cache in a private instance: a get of each key, and a set if it
is not found. The result is one JSON object. Files are plain, or compressed by gzip or xz. Of several files, each is replayed by a
session of its own, and the sessions take turns access by access, as the processes of one machine do.

Formats: be32 and be64 are keys of 4 and 8 bytes, big-endian; lirs is a number on each line; arc has a first key and how many follow
each other on each line; sized has a time, a key and the size of its value.

With --entries the limit is found by replaying several times: the one with which there are N entries on the average, from the
first eviction on. So the hit rate compares with that of other policies for N entries.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, files []string) (err error) {
			if err := spec.check(cmd.Flags().Changed, limit, favour, format); err != nil {
				return fmt.Errorf("%w: %w", cli.ErrUsage, err)
			}
			if spec.traces, err = a.readTraces(cmd.Context(), format, files); err != nil {
				return err
			}
			result, err := a.replay(cmd.Context(), &spec)
			if err != nil {
				return err
			}
			return a.PrintJSON(result)
		},
	}
	f := cmd.Flags()
	f.IntVar(&spec.entries, "entries", 0, "how many entries the cache is to have, on the average")
	f.StringVar(&limit, "limit", "", "the cache's limit in `bytes`, or with kB, MB, GB")
	f.IntVar(&spec.size, "size", 0, "how many `bytes` each value has (default: what the trace says; else 200, or with a small --entries\n"+
		"as many as make so few entries a cache)")
	f.StringVar(&favour, "favour", "bytes", "what most of is to be hit: objects or bytes")
	f.StringVar(&format, "format", "", "the files' format: "+strings.Join(trace.Formats, ", "))
	_ = cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(trace.Formats, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("favour", cobra.FixedCompletions([]string{"objects", "bytes"},
		cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// check judges what was typed, and stores what flags mean.
func (r *replaySpec) check(given func(string) bool, limit, favour, format string) error {
	switch favour {
	case "objects", "bytes":
		r.objects = favour == "objects"
	default:
		return fmt.Errorf("--favour %q: it takes objects or bytes", favour)
	}
	if _, err := trace.Read(context.Background(), "", format, strings.NewReader("")); err != nil && errors.Is(err, trace.ErrFormat) {
		return fmt.Errorf("--format: %w", err)
	}
	if given("entries") == given("limit") {
		return errors.New("it takes one of --entries and --limit")
	}
	if given("entries") && r.entries < 1 {
		return fmt.Errorf("--entries %d: it takes a number above 0", r.entries)
	}
	if r.sizeGiven = given("size"); r.sizeGiven && (r.size < 0 || r.size > math.MaxInt32) {
		return fmt.Errorf("--size %d: it takes a number from 0 to %d", r.size, math.MaxInt32)
	}
	if given("limit") {
		n, err := settings.ParseBytes(limit)
		if err == nil && (n < cache.MinLimit || n > cache.MaxLimit || n > math.MaxInt) {
			err = fmt.Errorf("%q: a cache has from 1 MB to 64 GB", limit)
		}
		if err != nil {
			return fmt.Errorf("--limit %w", err)
		}
		r.limit = int64(n)
	}
	return nil
}

func (a *app) readTraces(ctx context.Context, format string, files []string) (list []trace.Trace, err error) {
	for _, path := range files {
		f := a.Stdin
		if path != "-" {
			if f, err = cli.Leaving(ctx, func() (*os.File, error) { return os.Open(path) }); err != nil {
				return nil, err
			}
		}
		t, err := trace.Read(ctx, path, format, stdin.Reader(ctx, f))
		if path != "-" {
			f.Close()
		}
		if err != nil {
			return nil, err
		}
		list = append(list, t)
	}
	return list, nil
}
