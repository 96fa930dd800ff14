package cli

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/godsm/godsm/internal/settings"
	"github.com/spf13/cobra"
)

// Column is one of a listing.
type Column[R any] struct {
	Name    string // as --columns, --sort and --filter have it
	Heading string
	Text    func(R) string
	Number  func(R) float64 // what the column is sorted and filtered by; nil: Text
	Tint    func(R) Tint    // nil: none
	Whole   bool            // it is never cut to fit the terminal
	Extra   bool            // it is shown only if --columns names it
}

// Cell returns what the column shows of a row.
func (c *Column[R]) Cell(r R) Cell {
	x := Cell{Text: c.Text(r)}
	if c.Tint != nil {
		x.Tint = c.Tint(r)
	}
	return x
}

// OnRequest returns the column as one that is shown only if --columns names it.
func (c Column[R]) OnRequest() Column[R] {
	c.Extra = true
	return c
}

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

type order[R any] struct {
	column *Column[R]
	down   bool
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

func columnOf[R any](columns []Column[R], flag, name string) (*Column[R], error) {
	var all []string
	for i := range columns {
		if strings.EqualFold(columns[i].Name, name) {
			return &columns[i], nil
		}
		all = append(all, columns[i].Name)
	}
	return nil, fmt.Errorf("%s: there is no column %q; there are %s", flag, name, strings.Join(all, ", "))
}

// condition is what --filter takes.
var condition = regexp.MustCompile(`^\s*([A-Za-z_/]+)\s*(!=|!~|<=|>=|=|~|<|>)\s*(.*?)\s*$`)

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

// Condition returns what tells whether a row is one of those that --filter asks for.
func Condition[R any](columns []Column[R], filter string) (func(R) bool, error) {
	m := condition.FindStringSubmatch(filter)
	if m == nil {
		return nil, fmt.Errorf("--filter %q: it takes COLUMN=VALUE, or another of = != ~ !~ < <= > >=", filter)
	}
	c, err := columnOf(columns, "--filter", m[1])
	if err != nil {
		return nil, err
	}
	test, err := c.test(m[2], m[3])
	if err != nil {
		return nil, fmt.Errorf("--filter %q: %w", filter, err)
	}
	return test, nil
}

// test returns what tells whether a line has such a value.
func (c *Column[R]) test(op, value string) (func(R) bool, error) {
	number, isNumber := numberOf(value)
	same := func(r R) bool {
		return strings.EqualFold(c.Text(r), value) || c.Number != nil && isNumber && c.Number(r) == number
	}
	switch op {
	case "=":
		return same, nil
	case "!=":
		return func(r R) bool { return !same(r) }, nil
	case "~", "!~":
		x, err := regexp.Compile(value)
		if err != nil {
			return nil, err
		}
		return func(r R) bool { return x.MatchString(c.Text(r)) == (op == "~") }, nil
	}
	if c.Number != nil && !isNumber {
		return nil, fmt.Errorf("%q is no number, size (64MB), time (10s) or part (50%%)", value)
	}
	compare := func(r R) int {
		if c.Number != nil {
			return cmp.Compare(c.Number(r), number)
		}
		return cmp.Compare(c.Text(r), value)
	}
	switch op {
	case "<":
		return func(r R) bool { return compare(r) < 0 }, nil
	case "<=":
		return func(r R) bool { return compare(r) <= 0 }, nil
	case ">":
		return func(r R) bool { return compare(r) > 0 }, nil
	}
	return func(r R) bool { return compare(r) >= 0 }, nil
}

// numberOf understands numbers, sizes as settings have them, times in seconds, and parts of a hundred.
func numberOf(s string) (float64, bool) {
	if n, err := strconv.ParseFloat(s, 64); err == nil {
		return n, true
	}
	if n, err := settings.ParseBytes(s); err == nil {
		return float64(n), true
	}
	if d, err := time.ParseDuration(s); err == nil {
		return d.Seconds(), true
	}
	if part, ok := strings.CutSuffix(s, "%"); ok {
		if n, err := strconv.ParseFloat(strings.TrimSpace(part), 64); err == nil {
			return n / 100, true
		}
	}
	return 0, false
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

// Sort returns the rows in the order of the column, those that are equal in it as they were.
func (c *Column[R]) Sort(rows []R, down bool) []R {
	type keyed struct {
		number float64
		text   string
		row    R
	}
	list := make([]keyed, len(rows))
	for i, r := range rows {
		if list[i].row = r; c.Number != nil {
			list[i].number = c.Number(r)
		} else {
			list[i].text = c.Text(r)
		}
	}
	slices.SortStableFunc(list, func(a, b keyed) int {
		n := cmp.Or(cmp.Compare(a.number, b.number), cmp.Compare(a.text, b.text))
		if down {
			return -n
		}
		return n
	})
	sorted := make([]R, len(rows))
	for i := range list {
		sorted[i] = list[i].row
	}
	return sorted
}

// Show prints the rows that the flags ask for: as a table, or as one JSON array with all of each row.
func (l *Listing[R]) Show(a *App, rows []R) error {
	rows = l.Choose(rows)
	if a.JSON {
		return a.PrintJSON(rows)
	}
	return l.Print(a, rows)
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
