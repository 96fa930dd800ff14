package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// The groups of commands in the help.
const (
	Run     = "run"
	See     = "see"
	Examine = "examine"
	Hold    = "hold"
	Try     = "try"
	Help    = "help"
)

var groups = []cobra.Group{
	{ID: Run, Title: "Run an instance:"},
	{ID: See, Title: "See what is in it, without joining it:"},
	{ID: Examine, Title: "Find out what is wrong:"},
	{ID: Hold, Title: "Work with segments and names:"},
	{ID: Try, Title: "Try it out:"},
	{ID: Help, Title: "Help:"},
}

func (a *App) manCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "man DIR",
		GroupID: Help,
		Short:   "Write a manual page for each command into a directory",
		Long: `Write a manual page for each command into DIR, which is made if it is missing: man -l DIR/NAME-ls.1 shows one. To install them:

    ` + a.Program.Name + ` man /usr/local/share/man/man1`,
		Args:        cobra.ExactArgs(1),
		Annotations: map[string]string{NoCleaning: "", JudgesSettings: ""},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return err
			}
			root := cmd.Root()
			root.DisableAutoGenTag = true // the same pages from the same program
			root.InitDefaultHelpCmd()
			root.InitDefaultCompletionCmd()
			if root.Long == "" {
				root.Long = rootPage(root)
			}
			date := builtAt()
			header := &doc.GenManHeader{Section: "1", Source: "godsm", Manual: "godsm", Date: &date}
			if err := doc.GenManTree(root, header, args[0]); err != nil {
				return err
			}
			pages, err := filepath.Glob(filepath.Join(args[0], a.Program.Name+"*.1"))
			if err != nil {
				return err
			}
			if a.JSON {
				return a.PrintJSON(struct {
					Dir   string `json:"dir"`
					Pages int    `json:"pages"`
				}{args[0], len(pages)})
			}
			_, err = fmt.Fprintf(a.Stdout, "%d pages in %s\n", len(pages), args[0])
			return err
		},
	}
}

// exitStatuses are what help exit-status and the manual say of them.
var exitStatuses = []struct {
	status int
	means  string
}{
	{OK, "It did what it was asked for. A reader of standard output that has gone is no failure."},
	{Failed, "It failed. One line on standard error says what failed, why, and what to do. Of verify, cache verify and doctor also: something is wrong."},
	{WrongUsage, "The command line or a setting is wrong. Nothing was done."},
	{Unsupervised, "Of status, ls, ps, names and top: no supervisor lives. What was printed is right all the same. The memory of an instance whose supervisor " +
		"is dead is still there for its sessions; the next supervisor adopts them. Of events and trace: there is no instance either."},
}

// exitStatusText returns them as text, wrapped.
func exitStatusText() string {
	text := "The exit status is\n"
	for _, x := range exitStatuses {
		line := fmt.Sprintf("  %d ", x.status)
		for _, word := range strings.Fields(x.means) {
			if len(line)+1+len(word) > 120 {
				text, line = text+line+"\n", "    "
			}
			line += " " + word
		}
		text += line + "\n"
	}
	return text
}

// builtAt returns the time of the commit that the program was built from, or else of the program's file.
func builtAt() time.Time {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if at, err := time.Parse(time.RFC3339, s.Value); s.Key == "vcs.time" && err == nil {
				return at
			}
		}
	}
	if exe, err := os.Executable(); err == nil {
		if info, err := os.Stat(exe); err == nil {
			return info.ModTime()
		}
	}
	return time.Now()
}

// rootPage returns what the program's own page of the manual says: its commands, the exit status, the environment and the files.
func rootPage(root *cobra.Command) string {
	text := root.Short + ".\n\n# COMMANDS\n"
	for _, c := range root.Commands() {
		if c.IsAvailableCommand() {
			text += fmt.Sprintf("\n%s\n: %s\n", c.Name(), c.Short)
		}
	}
	text += "\n# EXIT STATUS\n"
	for _, l := range exitStatuses {
		text += fmt.Sprintf("\n%d\n: %s\n", l.status, l.means)
	}
	return text + `
# ENVIRONMENT

DSM_DIR
: the instance's directory, if --dir does not say it

DSM_SETTING
: a setting, by its name in capital letters: DSM_MAX_SEGMENTS

NO_COLOR
: no colours, if it is set

# FILES

DIR/dsm.conf
: settings, a line each: max_segments = 10000

DIR/events
: the last events of generations that have ended

~/.local/state/dsm
: the directory without --dir and DSM_DIR, unless XDG_STATE_HOME is set
`
}

// exitStatusTopic returns a page of the help; it runs nothing.
func exitStatusTopic() *cobra.Command {
	return &cobra.Command{
		Use:   "exit-status",
		Short: "What the exit status means",
		Long: exitStatusText() + `
With --json the error is one JSON object on standard error: error, kind (failure, usage, unsupervised), exit_status, command.
The program dsmdemo prints the line of text.`,
	}
}
