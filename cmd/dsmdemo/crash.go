package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	"github.com/godsm/godsm/cmd/dsmdemo/chaos"
	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/command/cli"
	"github.com/godsm/godsm/internal/instance"
	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
)

func (a *app) crashCommand() *cobra.Command {
	var seconds float64
	var o chaos.Options
	cmd := &cobra.Command{
		Use:     "crash",
		GroupID: cli.Try,
		Short:   "The chaos run: kill -9 at random, and count what leaks, goes wrong or gets stuck",
		Long: `Worker processes create, attach, pin, unpin, detach, lock and write checksummed data, in a private
instance of its own, while they and their supervisor are killed and stopped at random. In the end all must be accounted
for. The exit status is 1 unless leaked_rows, leaked_objects, wrong_bytes and stuck are 0:

  kills            SIGKILLs of workers and supervisors; supervisor_kills is the latter alone
  reclaims         rows of killed processes that were given back
  reclaim_ms       from the kernel's release of the witness to references and row given back, without kills while no
                   supervisor ran or the control lock's holder was stopped
  operations       steps of all workers
  leaked_rows      rows of the control segment that do not say what the living hold, at rest
  leaked_objects   objects in the system that no row lists at rest, or that are left after the stop
  wrong_bytes      blocks that their writer had finished and whose checksum fails; what a dead writer left unfinished
                   does not count
  stuck            processes that made no step for 5 s, though no process that they waited for was stopped

With the same seed the same decisions are made; what a blow hits is up to the system's scheduler.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !cmd.Flags().Changed("seed") {
				o.Seed = rand.Uint64() >> 32
			}
			if o.Workers < 1 || o.Workers > chaos.MaxWorkers || !(seconds > 0) {
				return fmt.Errorf("%w: --workers takes 1 to %d, --seconds a number above 0", cli.ErrUsage, chaos.MaxWorkers)
			}
			o.Duration = time.Duration(seconds * float64(time.Second))
			return a.crash(cmd.Context(), o)
		},
	}
	f := cmd.Flags()
	f.Float64Var(&seconds, "seconds", 10, "how long")
	f.IntVar(&o.Workers, "workers", 8, "how many worker processes at a time")
	f.Uint64Var(&o.Seed, "seed", 0, "of all that is decided at random (default: drawn, and told on stderr)")
	f.StringVar(&o.Sabotage, "sabotage", "", "do something wrong: object, byte, row or stuck")
	_ = f.MarkHidden("sabotage") // to see that it is found
	return cmd
}

func (a *app) crash(ctx context.Context, o chaos.Options) (err error) {
	s, err := instance.Backends{}.Load(a.Config.Dir, a.Config.Settings)
	if err != nil {
		return err
	}
	if s.DynamicSharedMemoryType == "none" {
		return fmt.Errorf("there is nothing that could leak: %w", dsm.ErrDisabled)
	}
	if o.Exe, err = os.Executable(); err != nil {
		return err
	}
	o.Restarts = s.OnCrash == "restart"
	o.Flags, o.Config, o.Log = []string{"--log-level", a.LogLevel}, a.Config, a.Stderr
	for _, s := range a.Settings {
		o.Flags = append(o.Flags, "-c", s)
	}
	stop := func() {}
	if cli.IsTerminal(a.Stderr) {
		fmt.Fprintf(a.Stderr, "%d workers for %v, seed %d\n", o.Workers, o.Duration, o.Seed)
		o.Progress, stop = a.showCrash(o.Duration)
	}
	result, err := chaos.Run(ctx, o)
	stop()
	if err == nil || result.Kills > 0 {
		err = errors.Join(err, a.printCrash(result))
	}
	if err == nil && !result.Well() {
		err = fmt.Errorf("--seed %d: leaked_rows %d, leaked_objects %d, wrong_bytes %d, stuck %d",
			o.Seed, result.LeakedRows, result.LeakedObjects, result.WrongBytes, result.Stuck)
	}
	return err
}

func (a *app) printCrash(r chaos.Result) error {
	if a.JSON {
		return a.PrintJSON(r)
	}
	type line struct{ name, value string }
	n := func(v any) string { return fmt.Sprint(v) }
	return cli.PrintTable(a.App, "WHAT\tCOUNT", []line{
		{"kills", n(r.Kills)}, {"of supervisors", n(r.SupervisorKills)}, {"reclaims", n(r.Reclaims)},
		{"reclaim, ms", fmt.Sprintf("%.2f median, %.2f p99, %.2f max",
			r.ReclaimMs.P50, r.ReclaimMs.P99, r.ReclaimMs.Max)},
		{"operations", n(r.Operations)}, {"leaked rows", n(r.LeakedRows)}, {"leaked objects", n(r.LeakedObjects)},
		{"wrong bytes", n(r.WrongBytes)}, {"stuck", n(r.Stuck)},
	}, func(l line) string { return l.name + "\t" + l.value })
}

// showCrash shows on a terminal how the time passes.
func (a *app) showCrash(d time.Duration) (progress func(kills int64), stop func()) {
	begin := time.Now()
	bar := progressbar.NewOptions64(d.Milliseconds(), progressbar.OptionSetWriter(a.Stderr),
		progressbar.OptionClearOnFinish(), progressbar.OptionSetWidth(40), progressbar.OptionSetPredictTime(false))
	progress = func(kills int64) {
		bar.Describe(fmt.Sprintf("%d kills", kills))
		_ = bar.Set64(min(time.Since(begin), d).Milliseconds())
	}
	return progress, func() { _ = bar.Finish() }
}

// crashWorkerCommand returns one worker of a chaos run.
func (a *app) crashWorkerCommand() *cobra.Command {
	var p chaos.Part
	cmd := &cobra.Command{
		Use:    "crash-worker",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return chaos.Work(cmd.Context(), a.Config, p, a.Stdin, a.Stdout, a.Stderr)
		},
	}
	f := cmd.Flags()
	f.Uint64Var(&p.Seed, "seed", 0, "")
	f.IntVar(&p.Desk, "desk", 0, "")
	f.IntVar(&p.Life, "life", 0, "")
	f.StringVar(&p.Sabotage, "sabotage", "", "")
	return cmd
}
