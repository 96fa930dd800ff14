package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// Listing is a table of a command, with flags for what of it is shown.
type Listing[R any] struct {
	columns []Column[R]
	names   []string // --columns
	sort    []string
	filter  []string
	bare    bool
	wide    bool
	by      []order[R]
	tests   []func(R) bool
}

// NewListing returns a listing with these columns, and adds its flags to cmd. The flags are checked before cmd runs.
func NewListing[R any](cmd *cobra.Command, columns ...Column[R]) *Listing[R] {
	l := &Listing[R]{columns: columns}
	var all []string
	for _, c := range columns {
		all = append(all, c.Name)
	}
	f := cmd.Flags()
	f.StringSliceVar(&l.names, "columns", nil, "what is shown, in this order: "+strings.Join(all, ","))
	f.StringSliceVar(&l.sort, "sort", nil, "order by a column; -`COLUMN`: the greatest first")
	f.StringArrayVar(&l.filter, "filter", nil, "show only lines for which `COLUMN=VALUE` holds, or with != ~ !~ < <= > >=; may be repeated")
	f.BoolVar(&l.bare, "no-header", false, "without the heading")
	f.BoolVar(&l.wide, "wide", false, "do not cut lines to the terminal's width")
	some := cobra.FixedCompletions(all, cobra.ShellCompDirectiveNoFileComp)
	_ = cmd.RegisterFlagCompletionFunc("columns", some)
	_ = cmd.RegisterFlagCompletionFunc("sort", some)
	_ = cmd.RegisterFlagCompletionFunc("filter", cobra.FixedCompletions(all, cobra.ShellCompDirectiveNoFileComp|cobra.ShellCompDirectiveNoSpace))
	cmd.PreRunE = func(*cobra.Command, []string) error {
		if err := l.check(); err != nil {
			return fmt.Errorf("%w: %w", ErrUsage, err)
		}
		return nil
	}
	return l
}

// Chosen reports whether the flags ask for a table of a certain form.
func (l *Listing[R]) Chosen() bool { return l.names != nil || l.bare || l.wide }

func (l *Listing[R]) check() error {
	for _, n := range l.names {
		if _, err := columnOf(l.columns, "--columns", n); err != nil {
			return err
		}
	}
	for _, n := range l.sort {
		c, err := columnOf(l.columns, "--sort", strings.TrimPrefix(n, "-"))
		if err != nil {
			return err
		}
		l.by = append(l.by, order[R]{c, strings.HasPrefix(n, "-")})
	}
	for _, f := range l.filter {
		test, err := Condition(l.columns, f)
		if err != nil {
			return err
		}
		l.tests = append(l.tests, test)
	}
	return nil
}

// Choose returns the rows that the flags ask for, in their order.
func (l *Listing[R]) Choose(rows []R) []R {
	chosen := []R{}
	for _, r := range rows {
		if !slices.ContainsFunc(l.tests, func(test func(R) bool) bool { return !test(r) }) {
			chosen = append(chosen, r)
		}
	}
	for _, o := range slices.Backward(l.by) {
		chosen = o.column.Sort(chosen, o.down)
	}
	return chosen
}

// Show prints the rows that the flags ask for: as a table, or as one JSON array with all of each row.
func (l *Listing[R]) Show(a *App, rows []R) error {
	rows = l.Choose(rows)
	if a.JSON {
		return a.PrintJSON(rows)
	}
	return l.Print(a, rows)
}

// Each prints one row of a stream, if the flags ask for it: as an object on a line, or as a line without a heading.
func (l *Listing[R]) Each(a *App, row R) error {
	rows := l.Choose([]R{row})
	switch {
	case len(rows) == 0:
		return nil
	case a.JSON:
		return a.PrintJSON(row)
	}
	bare := *l
	bare.bare = true
	return bare.Print(a, rows)
}

// Print prints rows as a table.
func (l *Listing[R]) Print(a *App, rows []R) error {
	var shown []*Column[R]
	for _, n := range l.names {
		c, err := columnOf(l.columns, "--columns", n)
		if err != nil {
			return err
		}
		shown = append(shown, c)
	}
	for i := range l.columns {
		if l.names == nil && !l.columns[i].Extra {
			shown = append(shown, &l.columns[i])
		}
	}
	var g Grid
	for _, c := range shown {
		g.Whole = append(g.Whole, c.Whole || c.Number != nil)
	}
	if !l.bare {
		var line []Cell
		for _, c := range shown {
			line = append(line, Cell{c.Heading, Heading})
		}
		g.Lines = append(g.Lines, line)
	}
	for _, r := range rows {
		var line []Cell
		for _, c := range shown {
			line = append(line, c.Cell(r))
		}
		g.Lines = append(g.Lines, line)
	}
	width := 0
	if !l.wide {
		width = a.Width()
	}
	return g.print(a.Stdout, width, a.Colours())
}
