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

// test returns what reports whether a line has such a value.
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

// Sort returns the rows in the order of the column, those that are equal in it as they were.
func (c *Column[R]) Sort(rows []R, down bool) []R {
	type keyed struct {
		number float64
		text   string
		at     int
	}
	list := make([]keyed, len(rows))
	for i, r := range rows {
		if list[i].at = i; c.Number != nil {
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
		sorted[i] = rows[list[i].at]
	}
	return sorted
}

type order[R any] struct {
	column *Column[R]
	down   bool
}

// Count returns a column of whole numbers.
func Count[R any, N int | int64 | uint64](name, heading string, n func(R) N) Column[R] {
	return Column[R]{Name: name, Heading: heading, Text: func(r R) string { return fmt.Sprint(n(r)) },
		Number: func(r R) float64 { return float64(n(r)) }}
}

// Bytes returns a column of sizes in the units of settings.
func Bytes[R any](name, heading string, n func(R) int64) Column[R] {
	return Column[R]{Name: name, Heading: heading, Text: func(r R) string { return Size(n(r)) },
		Number: func(r R) float64 { return float64(n(r)) }}
}

// Part returns a column of parts of 1.
func Part[R any](name, heading string, n func(R) float64) Column[R] {
	return Column[R]{Name: name, Heading: heading, Text: func(r R) string { return Percent(n(r)) }, Number: n}
}

// Time returns a column of times in seconds.
func Time[R any](name, heading string, n func(R) float64) Column[R] {
	return Column[R]{Name: name, Heading: heading, Text: func(r R) string { return Seconds(n(r)) }, Number: n}
}
