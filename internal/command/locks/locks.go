package locks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/command/cli"
	"github.com/godsm/godsm/locktable"
	"github.com/godsm/godsm/registry"
	"github.com/godsm/godsm/shm/dsa"
	"github.com/spf13/cobra"
)

// Row is a line of locks.
type Row struct {
	Table   string   `json:"table"`
	Name    string   `json:"name"`
	Path    []string `json:"path"`
	Holders []Party  `json:"holders"`
	Waiters []Party  `json:"waiters"`
	Died    int      `json:"died,omitempty"` // holders, since the last repair
}

// Party is a holder or a waiter.
type Party struct {
	Pid     int     `json:"pid"`
	App     string  `json:"app"`
	Owner   uint32  `json:"owner,omitempty"`
	Note    string  `json:"note,omitempty"`
	Mode    string  `json:"mode"`
	Seconds float64 `json:"seconds"`
	State   string  `json:"state,omitempty"` // of a waiter: called, or passed over
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

func partyOf(p locktable.Party) Party {
	row := Party{p.Pid, p.Application, p.Owner, p.Note, p.Mode.String(), p.For.Seconds(), ""}
	switch {
	case p.Passed:
		row.State = "passed over"
	case p.Called && p.Waits:
		row.State = "called"
	}
	return row
}

func partiesOf(list []locktable.Party) []Party {
	rows := []Party{}
	for _, p := range list {
		rows = append(rows, partyOf(p))
	}
	return rows
}

func (p Party) String() string {
	s := fmt.Sprintf("pid %d", p.Pid)
	if p.App != "" {
		s += " (" + p.App + ")"
	}
	if p.Note != "" {
		s += fmt.Sprintf(" %q", p.Note)
	}
	return s
}

func (a *app) locksCommand() *cobra.Command {
	var graph, dot bool
	cmd := &cobra.Command{
		Use:   "locks [TABLE]",
		Short: "List the locks of lock tables: who holds them, since when, what for, and who waits",
		Long: `List the locks of lock tables (package locktable): who holds them, since when, what for, and who waits.

It joins nothing and takes no lock, so it answers beside holders that are stopped. What it shows was read while others
went on: each line was true at some moment, all together at none. A hold whose begin nobody has seen is as old as its
first sight.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			tables, err := a.lockTables(cmd.Context(), args)
			if err != nil {
				return err
			}
			switch {
			case dot:
				return printDot(a.Stdout, tables)
			case graph:
				return a.printWaits(tables)
			}
			return a.printLocks(tables)
		},
	}
	cmd.Flags().BoolVar(&graph, "wait-graph", false, "who waits for whom")
	cmd.Flags().BoolVar(&dot, "dot", false, "the same in the language of Graphviz")
	return cmd
}

// lockTable is what was seen of one table.
type lockTable struct {
	locks []Row
	waits []Edge
}

// lockTables looks at the tables of the instance, or at one.
func (a *app) lockTables(ctx context.Context, args []string) (all []lockTable, err error) {
	err = dsm.Look(ctx, a.Config, func(r dsm.Report, bytes func(dsm.Handle) ([]byte, error)) error {
		names, err := registry.Names(r)
		if err != nil {
			return err
		}
		names = slices.DeleteFunc(names, func(x registry.Info) bool {
			return x.Kind != locktable.Kind || len(args) > 0 && x.Name != args[0]
		})
		if len(names) == 0 && len(args) > 0 {
			return fmt.Errorf("no lock table %q: ls shows what there is", args[0])
		}
		for _, x := range names {
			if x.State != "ready" {
				continue
			}
			t, err := lookAtLocks(x, bytes)
			if err != nil {
				return fmt.Errorf("lock table %q: %w", x.Name, err)
			}
			all = append(all, t)
		}
		return nil
	})
	return all, err
}

func lookAtLocks(x registry.Info, bytes func(dsm.Handle) ([]byte, error)) (t lockTable, err error) {
	s, err := dsa.Look(uint64(x.Handle), func(h uint64) ([]byte, error) { return bytes(dsm.Handle(h)) })
	if err != nil {
		return t, err
	}
	l, err := locktable.Look(s.Peek, x.Table)
	if err != nil {
		return t, err
	}
	for i := range l.List() {
		t.locks = append(t.locks, Row{x.Name, i.Name(), i.Path(), partiesOf(i.Holders), partiesOf(i.Waiters), i.Died})
	}
	slices.SortFunc(t.locks, func(a, b Row) int { return strings.Compare(a.Name, b.Name) })
	for e := range l.Waits() {
		t.waits = append(t.waits, Edge{x.Name, e.Name, partyOf(e.Waiter), e.Wanted.String(), partyOf(e.Holder), e.Holding})
	}
	slices.SortFunc(t.waits, func(a, b Edge) int { return strings.Compare(a.Name, b.Name) })
	return t, nil
}

func (a *app) printLocks(tables []lockTable) error {
	rows := []Row{}
	for _, t := range tables {
		rows = append(rows, t.locks...)
	}
	if a.JSON {
		return a.PrintJSON(rows)
	}
	type line struct{ table, name, what, who, mode, age string }
	var lines []line
	for _, r := range rows {
		add := func(what string, p Party) {
			if p.State != "" {
				what += ", " + p.State
			}
			age := time.Duration(p.Seconds * float64(time.Second)).Round(time.Millisecond)
			lines = append(lines, line{r.Table, r.Name, what, p.String(), p.Mode, age.String()})
		}
		for _, p := range r.Holders {
			add("holds", p)
		}
		for _, p := range r.Waiters {
			add("waits", p)
		}
		if r.Died > 0 {
			lines = append(lines, line{r.Table, r.Name, fmt.Sprintf("%d died with it", r.Died), "-", "-", "-"})
		}
	}
	return cli.PrintTable(a.Stdout, "TABLE\tNAME\tSTATE\tWHO\tMODE\tFOR", lines, func(l line) string {
		return strings.Join([]string{l.table, l.name, l.what, l.who, l.mode, l.age}, "\t")
	})
}

func (a *app) printWaits(tables []lockTable) error {
	rows := []Edge{}
	for _, t := range tables {
		rows = append(rows, t.waits...)
	}
	if a.JSON {
		return a.PrintJSON(rows)
	}
	return cli.PrintTable(a.Stdout, "TABLE\tWAITER\tWANTS\tMODE\tFROM\tWHICH", rows, func(r Edge) string {
		return strings.Join([]string{r.Table, r.Waiter.String(), r.Name, r.Wanted, r.Holder.String(), r.Holding}, "\t")
	})
}

// printDot draws who waits for whom.
func printDot(w io.Writer, tables []lockTable) error {
	_, err := fmt.Fprintln(w, "digraph waits {")
	for _, t := range tables {
		for _, r := range t.waits {
			node := func(p Party) string { return fmt.Sprintf("%s owner %d", p, p.Owner) }
			_, e := fmt.Fprintf(w, "  %q -> %q [label=%q];\n", node(r.Waiter), node(r.Holder),
				fmt.Sprintf("%s: wants %s, it %s", r.Name, r.Wanted, r.Holding))
			err = errors.Join(err, e)
		}
	}
	_, e := fmt.Fprintln(w, "}")
	return errors.Join(err, e)
}
