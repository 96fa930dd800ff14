// Package top has the command that shows an instance again and again: a live screen on a terminal, pictures elsewhere. It looks
// from outside (dsm.Look): it takes no row and no lock, so it works on a full table and while a holder is stopped.
package top

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/colorprofile"
	"github.com/godsm/godsm/internal/command/cli"
	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// app is what the commands of this package work with.
type app struct{ *cli.App }

// Commands returns the commands of this package.
func Commands(a *cli.App) []*cobra.Command {
	here := &app{a}
	return []*cobra.Command{here.topCommand()}
}

// flags are those of top.
type flags struct {
	interval time.Duration
	times    int
	once     bool
	view     string
	sort     string
	filter   string
	rows     int
}

func (a *app) topCommand() *cobra.Command {
	var f flags
	cmd := &cobra.Command{
		Use:     "top",
		GroupID: cli.See,
		Short:   "Watch an instance: sessions, segments, names, caches, locks, queues, events, and what is done in a second",
		Long: `Watch an instance: sessions, segments, names, caches (the part of lookups that are hits, and what twice as much memory would
bring), locks (who waits for whom), queues of batch/shared, the last events, and what is done in a second, as the difference of two looks.

It looks from outside and takes no row and no lock: it works on a full table and while a holder is stopped. An instance that ends is
told of, and looked for again.

Keys:
  1-7, tab       choose a view: sessions, segments, names, caches, locks, queues, events (also e)
  up, down       choose a line (also k, j, page up, page down, home, end)
  enter          look into the line; escape goes back
  s, S           order by the next column, the one before; r: the other way round
  /              show only lines with a text in them, or for which COLUMN=VALUE holds (as --filter of ls)
  space          pause; + and - change the time between two looks
  ?              these keys; q ends

If standard output is no terminal, or with --once, it prints a picture, and ends after --times of them (1; 0: never). With --json a
picture is one object on one line, with events if --view says so. The exit status is 3 if no supervisor lives.`,
		Args:        cobra.NoArgs,
		Annotations: map[string]string{cli.NoCleaning: ""},
	}
	fl := cmd.Flags()
	fl.DurationVar(&f.interval, "interval", time.Second, "the time between two looks")
	fl.IntVar(&f.times, "times", 1, "how many pictures to print; 0: until it is interrupted")
	fl.BoolVar(&f.once, "once", false, "print one picture and end, on a terminal too")
	fl.StringVar(&f.view, "view", "", "the view to begin with, or the only one to print: "+strings.Join(titles(), ", "))
	fl.StringVar(&f.sort, "sort", "", "order the view by a column; -`COLUMN`: the greatest first")
	fl.StringVar(&f.filter, "filter", "", "show only lines of the view with this text, or for which `COLUMN=VALUE` holds")
	fl.IntVar(&f.rows, "rows", 20, "how many lines of each view a picture has; 0: all")
	_ = cmd.RegisterFlagCompletionFunc("view", cobra.FixedCompletions(titles(), cobra.ShellCompDirectiveNoFileComp))
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		m, err := a.newModel(cmd.Context(), f)
		if err != nil {
			return fmt.Errorf("%w: %w", cli.ErrUsage, err)
		}
		if f.once || a.JSON || cmd.Flags().Changed("times") || a.File == nil || !term.IsTerminal(int(a.File.Fd())) {
			return a.print(cmd.Context(), m, f)
		}
		return a.watch(cmd, m)
	}
	return cmd
}

// garbage is how much a screen may leave before it is collected, in percent of what it keeps: each look makes all of it anew.
const garbage = 400

// watch shows the live screen.
func (a *app) watch(cmd *cobra.Command, m *model) error {
	m.colours, m.screen = a.Colours(), true
	debug.SetGCPercent(garbage)
	// The profile is named, as bubbletea would ask tmux for it: colours are this command's own, of the sixteen that each terminal has.
	options := []tea.ProgramOption{tea.WithContext(cmd.Context()), tea.WithOutput(a.File), tea.WithColorProfile(colorprofile.ANSI),
		tea.WithoutSignalHandler(), tea.WithFPS(10)}
	if term.IsTerminal(int(a.Stdin.Fd())) {
		options = append(options, tea.WithInput(a.Stdin)) // else bubbletea opens the terminal
	}
	_, err := tea.NewProgram(m, options...).Run()
	if errors.Is(err, tea.ErrProgramKilled) && cmd.Context().Err() != nil {
		return nil // interrupted, as is meant
	}
	return err
}

// newModel returns a model that shows what the flags ask for.
func (a *app) newModel(ctx context.Context, f flags) (*model, error) {
	if f.interval < 50*time.Millisecond || f.times < 0 || f.rows < 0 {
		return nil, fmt.Errorf("--interval %v, --times %d, --rows %d: it takes at least 50ms, 0 and 0", f.interval, f.times, f.rows)
	}
	m := &model{ctx: ctx, config: a.Config, interval: f.interval, sheets: sheets(), width: 100, height: 30}
	if f.view != "" {
		i := slices.Index(titles(), strings.ToLower(f.view))
		if i < 0 {
			return nil, fmt.Errorf("--view %q: it takes %s", f.view, strings.Join(titles(), ", "))
		}
		m.current = i
	}
	if f.sort != "" {
		if err := m.sheet().orderBy(f.sort); err != nil {
			return nil, err
		}
	}
	if err := m.sheet().narrow(f.filter); err != nil {
		return nil, err
	}
	return m, nil
}
