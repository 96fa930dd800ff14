package locks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/godsm/godsm/internal/command/cli"
	"github.com/godsm/godsm/internal/survey"
	"github.com/godsm/godsm/locktable"
	"github.com/spf13/cobra"
)

// Row is a line of locks.
type Row struct {
	Table   string   `json:"table"`
	Name    string   `json:"name"`
	Path    []string `json:"path"`
	Holders []Party  `json:"holders"`
	Waiters []Party  `json:"waiters"`
	Died    int      `json:"died,omitempty"`       // holders, since the last repair
	Below   bool     `json:"died_below,omitempty"` // all of those had the lock in an intent mode
}

// Party is a holder or a waiter.
type Party struct {
	Pid     int     `json:"pid"`
	App     string  `json:"app"`
	Owner   uint32  `json:"owner,omitempty"`
	Note    string  `json:"note,omitempty"`
	Mode    string  `json:"mode"`
	Seconds float64 `json:"seconds"`
	State   string  `json:"state,omitempty"`   // of a waiter: called, or passed over
	Process string  `json:"process,omitempty"` // stopped, dead, ...: what its session is, if that is not running
}

// Edge is that one waits for another.
type Edge struct {
	Table   string `json:"table"`
	Name    string `json:"name"`
	Waiter  Party  `json:"waiter"`
	Wanted  string `json:"wanted"`
	Holder  Party  `json:"holder"`
	Holding string `json:"holding"`
}

// partyOf describes a holder or a waiter. States are those of processes that do not run.
func partyOf(p locktable.Party, states map[int]string) Party {
	row := Party{p.Pid, p.Application, p.Owner, p.Note, p.Mode.String(), p.For.Seconds(), "", states[p.Pid]}
	switch {
	case p.Passed:
		row.State = "passed over"
	case p.Called && p.Waits:
		row.State = "called"
	}
	return row
}

func partiesOf(list []locktable.Party, states map[int]string) []Party {
	rows := []Party{}
	for _, p := range list {
		rows = append(rows, partyOf(p, states))
	}
	return rows
}

func (p Party) String() string { return whoIs(p.Pid, p.Process, p.App, p.Note) }

func (a *app) locksCommand() *cobra.Command {
	var graph, dot bool
	var list *cli.Listing[Line]
	cmd := &cobra.Command{
		ValidArgsFunction: a.First(a.NamesOf(locktable.Kind)),
		Use:               "locks [TABLE]",
		GroupID:           cli.See,
		Short:             "List the locks of lock tables: who holds them, since when, what for, and who waits",
		Long: `List the locks of lock tables (package locktable): who holds them, since when, what for, and who waits.

It joins nothing and takes no lock, so it answers while holders are stopped. What it shows was read while others
went on: each line was true at some moment, all together at none. A hold whose begin no process has recorded is as
old as its first sight.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := a.lockTables(cmd.Context(), args)
			if err != nil {
				return err
			}
			switch {
			case dot:
				return printDot(a.Stdout, s)
			case graph:
				return a.printWaits(s)
			}
			return a.printLocks(list, s)
		},
	}
	list = cli.NewListing(cmd, Columns...)
	cmd.Flags().BoolVar(&graph, "wait-graph", false, "who waits for whom")
	cmd.Flags().BoolVar(&dot, "dot", false, "the same in the language of Graphviz")
	return cmd
}

// Rows returns the lines for what was seen of the lock tables, each in the order of the locks' names.
func Rows(s *survey.Survey) (rows []Row) {
	states := s.NotRunning()
	for _, t := range s.Tables {
		for _, i := range t.Locks {
			rows = append(rows, Row{t.Name, i.Name(), i.Path(), partiesOf(i.Holders, states), partiesOf(i.Waiters, states), i.Died, i.Below})
		}
	}
	return rows
}

// Edges returns who waits for whom in the lock tables.
func Edges(s *survey.Survey) (list []Edge) {
	states := s.NotRunning()
	for _, t := range s.Tables {
		for _, e := range t.Waits {
			list = append(list, Edge{t.Name, e.Name, partyOf(e.Waiter, states), e.Wanted.String(), partyOf(e.Holder, states), e.Holding})
		}
	}
	return list
}

// lockTables looks at the lock tables of the instance, or at one. One that can't be read is an error.
func (a *app) lockTables(ctx context.Context, args []string) (*survey.Survey, error) {
	s, err := survey.Find(ctx, a.Config, locktable.Kind, strings.Join(args, ""))
	if err != nil {
		return nil, err
	}
	for _, t := range s.Tables {
		if t.Err != nil {
			return nil, fmt.Errorf("lock table %q: %w", t.Name, t.Err)
		}
	}
	return &s, nil
}

// Line says that a session holds a lock, waits for it, or has died with it.
type Line struct {
	*Row
	What, Who, Held string
	Seconds         float64
	timeless        bool // seconds say nothing
}

// Lines returns a line for each holder and each waiter.
func Lines(rows []Row) (lines []Line) {
	for i := range rows {
		r := &rows[i]
		add := func(what string, p Party) {
			if p.State != "" {
				what += ", " + p.State
			}
			lines = append(lines, Line{r, what, p.String(), p.Mode, p.Seconds, false})
		}
		for _, p := range r.Holders {
			add("holds", p)
		}
		for _, p := range r.Waiters {
			add("waits", p)
		}
		if r.Died > 0 {
			where := "with it"
			if r.Below {
				where = "below it"
			}
			lines = append(lines, Line{r, fmt.Sprintf("%d died %s", r.Died, where), "-", "-", 0, true})
		}
	}
	return lines
}

// Columns are those of the list.
var Columns = []cli.Column[Line]{
	{Name: "table", Heading: "TABLE", Text: func(l Line) string { return l.Table }},
	{Name: "name", Heading: "NAME", Text: func(l Line) string { return l.Name }},
	{Name: "state", Heading: "STATE", Text: func(l Line) string { return l.What }, Tint: func(l Line) cli.Tint {
		switch {
		case l.timeless:
			return cli.Bad
		case strings.HasPrefix(l.What, "waits"):
			return cli.Odd
		}
		return cli.Good
	}},
	{Name: "who", Heading: "WHO", Text: func(l Line) string { return l.Who }},
	{Name: "mode", Heading: "MODE", Text: func(l Line) string { return l.Held }},
	{Name: "for", Heading: "FOR", Text: func(l Line) string {
		if l.timeless {
			return "-"
		}
		return time.Duration(l.Seconds * float64(time.Second)).Round(time.Millisecond).String()
	}, Number: func(l Line) float64 { return l.Seconds }},
}

// printLocks prints a line for each holder and each waiter. As JSON it is one row for each lock of which a line was chosen.
func (a *app) printLocks(list *cli.Listing[Line], s *survey.Survey) error {
	rows := Rows(s)
	lines := list.Choose(Lines(rows))
	if !a.JSON {
		return list.Print(a.App, lines)
	}
	chosen, seen := []Row{}, map[*Row]bool{}
	for _, l := range lines {
		if !seen[l.Row] {
			seen[l.Row] = true
			chosen = append(chosen, *l.Row)
		}
	}
	return a.PrintJSON(chosen)
}

func (a *app) printWaits(s *survey.Survey) error {
	rows := append([]Edge{}, Edges(s)...)
	if a.JSON {
		return a.PrintJSON(rows)
	}
	return cli.PrintTable(a.App, "TABLE\tWAITER\tWANTS\tMODE\tFROM\tWHICH", rows, func(r Edge) string {
		return strings.Join([]string{r.Table, r.Waiter.String(), r.Name, r.Wanted, r.Holder.String(), r.Holding}, "\t")
	})
}

// printDot draws who waits for whom.
func printDot(w io.Writer, s *survey.Survey) error {
	_, err := fmt.Fprintln(w, "digraph waits {")
	for _, r := range Edges(s) {
		node := func(p Party) string { return fmt.Sprintf("%s owner %d", p, p.Owner) }
		_, e := fmt.Fprintf(w, "  %q -> %q [label=%q];\n", node(r.Waiter), node(r.Holder),
			fmt.Sprintf("%s: wants %s, it %s", r.Name, r.Wanted, r.Holding))
		err = errors.Join(err, e)
	}
	_, e := fmt.Fprintln(w, "}")
	return errors.Join(err, e)
}
