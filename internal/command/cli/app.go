// Package cli is what the commands of this module's programs share: the global flags, the standard streams, exit statuses,
// how errors and results are printed. The commands themselves are in the packages beside it.
package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/instance"
	"github.com/godsm/godsm/internal/settings"
	"github.com/rs/zerolog"
	"github.com/spf13/cobra"
)

// Program is a command-line program.
type Program struct {
	Name  string
	Short string
	// Commands returns the program's commands, which work with a.
	Commands func(a *App) []*cobra.Command
	// PlainErrors says that an error is a line of text with --json, too.
	PlainErrors bool
}

// Main runs the program with the process's arguments and streams, until it has ended or a signal ends it. It does not return.
func (p Program) Main() {
	ending := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // as under nohup
		ending = append(ending, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), ending...)
	defer stop()
	// a reader that has gone is an error of Write, not the end in the middle
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	os.Exit(p.Run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// Run is Main without the process. It returns the exit status. Standard input is a file, since create asks how it ends.
func (p Program) Run(ctx context.Context, args []string, stdin *os.File, stdout, stderr io.Writer) int {
	a := &App{Program: p, Stdin: stdin, Stdout: stdout, Stderr: stderr}
	root := a.root()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
	status := a.status(cmd, err)
	if status != OK {
		a.printError(cmd, err, status, slices.Contains(args, "--json"))
	}
	return status
}

// NoCleaning is the annotation of a command before which dead private instances stay: it only
// looks, or cleans up itself.
const NoCleaning = "no cleaning"

// JudgesSettings is the annotation of a command that wrong settings are no wrong usage of: it tells of them.
const JudgesSettings = "judges settings"

// AllOrNothing is the annotation of a command whose output is not right if a part of it is missing: a reader that has gone
// is an error of it.
const AllOrNothing = "all or nothing"

// App is what all commands share: the global flags and the standard streams.
type App struct {
	Program
	Dir      string
	Settings []string
	JSON     bool
	LogLevel string
	color    string

	Stdin   *os.File
	File    *os.File  // standard output, if it is one
	Stdout  io.Writer // to it, as long as the command's context lasts
	Stderr  io.Writer
	Config  dsm.Config
	running bool // the command line has been understood
}

func (a *App) root() *cobra.Command {
	root := &cobra.Command{
		Use:               a.Program.Name,
		Version:           Version(),
		Short:             a.Program.Short,
		SilenceErrors:     true,
		SilenceUsage:      true,
		PersistentPreRunE: a.prepare,
	}
	f := root.PersistentFlags()
	f.StringVar(&a.Dir, "dir", "",
		"the instance's directory (default $DSM_DIR, else dsm in the user's state directory)")
	f.StringArrayVarP(&a.Settings, "set", "c", nil, "a setting, as `name=value`; may be repeated")
	f.BoolVar(&a.JSON, "json", false, "results as JSON: one value, or one per line for streams")
	f.StringVar(&a.LogLevel, "log-level", "",
		"what is logged to stderr: trace, debug, info, warn, error, disabled (default warn; of supervise info)")
	f.StringVar(&a.color, "color", "auto", "colours: auto (on a terminal, unless NO_COLOR is set), always, never")
	_ = root.RegisterFlagCompletionFunc("color", cobra.FixedCompletions([]string{"auto", "always", "never"}, cobra.ShellCompDirectiveNoFileComp))
	_ = root.RegisterFlagCompletionFunc("set", a.Assignments)
	_ = root.RegisterFlagCompletionFunc("log-level", cobra.FixedCompletions(
		[]string{"trace", "debug", "info", "warn", "error", "disabled"}, cobra.ShellCompDirectiveNoFileComp))
	list := a.Program.Commands(a)
	for _, g := range groups {
		if g.ID == Help || slices.ContainsFunc(list, func(c *cobra.Command) bool { return c.GroupID == g.ID }) {
			root.AddGroup(&g)
		}
	}
	root.AddCommand(append(list, a.versionCommand(), a.manCommand(), exitStatusTopic())...)
	root.SetHelpCommandGroupID(Help)
	root.SetCompletionCommandGroupID(Help)
	return root
}

// prepare turns the global flags into a Config, and cleans up after private instances whose processes were all killed.
func (a *App) prepare(cmd *cobra.Command, _ []string) error {
	level, err := zerolog.ParseLevel(a.LogLevel)
	switch {
	case cmd.Flags().Changed("log-level") && (err != nil || a.LogLevel == ""):
		return fmt.Errorf("--log-level %q: it takes trace, debug, info, warn, error or disabled", a.LogLevel)
	case cmd.Flags().Changed("log-level"):
	case cmd.Name() == "supervise":
		level = zerolog.InfoLevel
	default:
		level = zerolog.WarnLevel
	}
	if !slices.Contains([]string{"auto", "always", "never"}, a.color) {
		return fmt.Errorf("--color %q: it takes auto, always or never", a.color)
	}
	a.LogLevel = level.String() // for commands that this one runs
	zerolog.TimeFieldFormat = "2006-01-02T15:04:05.000Z07:00"
	set := map[string]string{}
	for _, s := range a.Settings {
		name, value, ok := strings.Cut(s, "=")
		if !ok || strings.TrimSpace(name) == "" {
			return fmt.Errorf("-c %q: it takes name=value", s)
		}
		set[strings.TrimSpace(name)] = strings.TrimSpace(value)
	}
	if _, ok := cmd.Annotations[JudgesSettings]; !ok {
		if err := settings.Check(instance.Backends{}.Types(), set); err != nil {
			return err
		}
	}
	if a.Dir == "" {
		if a.Dir, err = instance.DefaultDir(); err != nil {
			a.running = true // nothing is wrong with the usage
			return err
		}
	}
	var logs io.Writer = a.Stderr
	if !a.JSON {
		logs = zerolog.ConsoleWriter{Out: logs, NoColor: true, TimeFormat: "15:04:05.000"}
	}
	a.Config = dsm.Config{
		Dir: a.Dir, Application: a.Program.Name + " " + cmd.Name(), Settings: set,
		Logger: zerolog.New(logs).Level(level).With().Timestamp().Logger(),
	}
	a.File, _ = a.Stdout.(*os.File)
	a.Stdout = &output{ctx: cmd.Context(), w: a.Stdout}
	a.running = true
	if !cmd.Hidden {
		for _, err := range settings.Strays(os.Environ()) {
			a.Config.Logger.Warn().Msg(err.Error())
		}
	}
	// hidden: a part of another command, which has cleaned up
	if _, ok := cmd.Annotations[NoCleaning]; ok || cmd.Hidden {
		return nil
	}
	instance.CleanPrivate(cmd.Context(), instance.Backends{}, instance.Who(a.Config.Application), a.Config.Logger)
	return nil
}

// PrintJSON prints one value on one line.
func (a *App) PrintJSON(v any) error {
	e := json.NewEncoder(a.Stdout)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}
