package cli

import (
	"fmt"
	"os"
	"path/filepath"
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
			date := time.Unix(0, 0)
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

// exitStatusTopic returns a page of the help; it runs nothing.
func exitStatusTopic() *cobra.Command {
	return &cobra.Command{
		Use:   "exit-status",
		Short: "What the exit status means",
		Long: `The exit status is
  0  if the command did what it was asked for. A reader of standard output that has gone is no failure.
  1  if it failed. One line on standard error says what failed, why, and what to do. Of verify, cache verify and doctor also
     if something is wrong.
  2  if the command line or a setting is wrong. Nothing was done.
  3  of status, ls, ps, names and top: no supervisor lives. What was printed is right all the same. The memory of an
     instance whose supervisor is dead is still there for its sessions; the next supervisor adopts them. Of events and trace: there
     is no instance either.

With --json the error is one JSON object on standard error: error, kind (failure, usage, unsupervised), exit_status, command.
The program dsmdemo prints the line of text.`,
	}
}
