// Command dsmdemo lets anyone try godsm from a terminal: run an instance, put bytes in segments and
// read them from other processes, see who holds what, kill somebody, and see that nothing is left.
//
// Results go to stdout, logs to stderr. The exit status is 0; 1 for a failure, with one line on
// stderr that says why; 2 for wrong usage; 3 of status, ls and ps where no supervisor lives. A reader of stdout that has
// gone is no failure.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/instance"
	"github.com/godsm/godsm/internal/settings"
	"github.com/godsm/godsm/parallel"
	"github.com/rs/zerolog"
	"github.com/spf13/cobra"
)

func main() {
	parallel.Main()
	ending := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // as under nohup
		ending = append(ending, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), ending...)
	defer stop()
	// a reader that has gone is an error of Write, not the end in the middle
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run is main without the process. Standard input is a file, since create asks how it ends.
func run(ctx context.Context, args []string, stdin *os.File, stdout, stderr io.Writer) int {
	a := &app{stdin: stdin, stdout: stdout, stderr: stderr}
	root := a.root()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
	switch {
	case err == nil, a.readerGone() && cmd.Annotations[allOrNothing] == "" && errors.Is(err, syscall.EPIPE):
		return 0
	case errors.Is(err, errUnsupervised):
		fmt.Fprintf(stderr, "dsmdemo: %s\n", oneLine(err))
		return 3
	case !a.running || errors.Is(err, errUsage):
		fmt.Fprintf(stderr, "dsmdemo: %s\nTry 'dsmdemo --help'.\n", oneLine(err))
		return 2
	default:
		fmt.Fprintf(stderr, "dsmdemo: %s\n", oneLine(err))
		return 1
	}
}

// oneLine joins the lines of an error, which may be several errors or cobra's suggestions.
func oneLine(err error) string {
	var lines []string
	for l := range strings.Lines(err.Error()) {
		if l = strings.TrimSpace(l); l != "" {
			lines = append(lines, l)
		}
	}
	return strings.Join(lines, "; ")
}

// errUsage is of arguments that only a command itself can judge.
var errUsage = errors.New("wrong usage")

// readerGone reports whether who read the command's output has closed it.
func (a *app) readerGone() bool {
	o, ok := a.stdout.(*output)
	return ok && o.gone.Load()
}

// errUnsupervised makes the exit status 3: a probe, as status, ls and ps are, tells it from a failure.
var errUnsupervised = errors.New("no supervisor lives")

// probed is the error of a command that looks at an instance: what it printed is right, but if nobody supervises the
// instance its exit status says so.
func probed(st dsm.Status, err error) error {
	switch {
	case errors.Is(err, dsm.ErrNoInstance):
		return fmt.Errorf("%w: %w", errUnsupervised, err)
	case err == nil && !st.Supervised:
		return fmt.Errorf("%w in %s: process %d is dead; a start adopts the sessions", errUnsupervised, st.Dir, st.Supervisor)
	}
	return err
}

// noCleaning is the annotation of a command before which dead private instances stay: it only
// looks, or cleans up itself.
const noCleaning = "no cleaning"

// judgesSettings is the annotation of a command that wrong settings are no wrong usage of: it tells of them.
const judgesSettings = "judges settings"

// allOrNothing is the annotation of a command whose output is not right if a part of it is missing: a reader that has gone
// is an error of it.
const allOrNothing = "all or nothing"

// app is what all commands share: the global flags and the standard streams.
type app struct {
	dir      string
	settings []string
	json     bool
	logLevel string

	stdin   *os.File
	file    *os.File  // standard output, if it is one
	stdout  io.Writer // to it, as long as the command's context lasts
	stderr  io.Writer
	config  dsm.Config
	running bool // the command line has been understood
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:               "dsmdemo",
		Version:           version(),
		Short:             "PostgreSQL-style dynamic shared memory, from a terminal",
		SilenceErrors:     true,
		SilenceUsage:      true,
		PersistentPreRunE: a.prepare,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
	}
	f := root.PersistentFlags()
	f.StringVar(&a.dir, "dir", "",
		"the instance's directory (default $DSM_DIR, else dsm in the user's state directory)")
	f.StringArrayVarP(&a.settings, "set", "c", nil, "a setting, as `name=value`; may be repeated")
	f.BoolVar(&a.json, "json", false, "results as JSON: one value, or one per line for streams")
	f.StringVar(&a.logLevel, "log-level", "",
		"what is logged to stderr: trace, debug, info, warn, error, disabled (default warn; of supervise info)")
	_ = root.RegisterFlagCompletionFunc("set", a.assignments)
	_ = root.RegisterFlagCompletionFunc("log-level", cobra.FixedCompletions(
		[]string{"trace", "debug", "info", "warn", "error", "disabled"}, cobra.ShellCompDirectiveNoFileComp))
	root.AddCommand(a.superviseCommand(), a.createCommand(), a.readCommand(), a.unpinCommand(),
		a.lsCommand(), a.psCommand(), a.statusCommand(), a.verifyCommand(), a.showCommand(), a.cleanCommand(),
		a.batchCommand(), a.cacheCommand(), a.locksCommand(), a.sortCommand(), a.demoCommand(), a.doctorCommand(), a.holdCommand(), a.crashCommand(),
		a.crashWorkerCommand())
	return root
}

// prepare turns the global flags into a Config, and cleans up after private instances whose processes were all killed.
func (a *app) prepare(cmd *cobra.Command, _ []string) error {
	level, err := zerolog.ParseLevel(a.logLevel)
	switch {
	case cmd.Flags().Changed("log-level") && (err != nil || a.logLevel == ""):
		return fmt.Errorf("--log-level %q: it takes trace, debug, info, warn, error or disabled", a.logLevel)
	case cmd.Flags().Changed("log-level"):
	case cmd.Name() == "supervise":
		level = zerolog.InfoLevel
	default:
		level = zerolog.WarnLevel
	}
	a.logLevel = level.String() // for commands that this one runs
	zerolog.TimeFieldFormat = "2006-01-02T15:04:05.000Z07:00"
	set := map[string]string{}
	for _, s := range a.settings {
		name, value, ok := strings.Cut(s, "=")
		if !ok || strings.TrimSpace(name) == "" {
			return fmt.Errorf("-c %q: it takes name=value", s)
		}
		set[strings.TrimSpace(name)] = strings.TrimSpace(value)
	}
	if _, ok := cmd.Annotations[judgesSettings]; !ok {
		if err := settings.Check(instance.Backends{}.Types(), set); err != nil {
			return err
		}
	}
	if a.dir == "" {
		if a.dir, err = instance.DefaultDir(); err != nil {
			a.running = true // nothing is wrong with the usage
			return err
		}
	}
	var logs io.Writer = a.stderr
	if !a.json {
		logs = zerolog.ConsoleWriter{Out: a.stderr, NoColor: true, TimeFormat: "15:04:05.000"}
	}
	a.config = dsm.Config{
		Dir: a.dir, Application: "dsmdemo " + cmd.Name(), Settings: set,
		Logger: zerolog.New(logs).Level(level).With().Timestamp().Logger(),
	}
	a.file, _ = a.stdout.(*os.File)
	a.stdout = &output{ctx: cmd.Context(), w: a.stdout}
	a.running = true
	if !cmd.Hidden {
		for _, err := range settings.Strays(os.Environ()) {
			a.config.Logger.Warn().Msg(err.Error())
		}
	}
	// hidden: a part of another command, which has cleaned up
	if _, ok := cmd.Annotations[noCleaning]; ok || cmd.Hidden {
		return nil
	}
	instance.CleanPrivate(cmd.Context(), instance.Backends{}, instance.Who(a.config.Application), a.config.Logger)
	return nil
}

// terminal says whether w is a terminal that can show progress.
func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
}

// printJSON prints one value on one line.
func (a *app) printJSON(v any) error {
	e := json.NewEncoder(a.stdout)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}
