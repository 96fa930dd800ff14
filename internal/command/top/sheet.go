package top

import (
	"fmt"
	"slices"
	"strings"

	"github.com/godsm/godsm/internal/command/cli"
)

// view is a table of the screen.
type view interface {
	name() string
	fill(now, before *picture) // choose what is shown of a picture
	len() int
	id(i int) string // of a line: the same in each picture
	cells(i int) []cli.Cell
	headings() []cli.Cell
	whole() []bool
	detail(i int) []string
	all() any // the lines, for JSON
	order() (column string, down bool)
	orderBy(column string) error
	turn(columns int) // to another column to order by
	reverse()
	narrow(filter string) error
	filtered() string
}

// sheet is the view of lines of one type.
type sheet[R any] struct {
	title   string
	columns []cli.Column[R]
	lines   func(now, before *picture) []R
	key     func(R) string
	look    func(r R, now *picture) []string // what is shown of one line
	by      int                              // the column that lines are ordered by
	down    bool
	filter  string
	test    func(R) bool
	now     *picture
	shown   []R
}

func (s *sheet[R]) name() string { return s.title }

func (s *sheet[R]) fill(now, before *picture) {
	s.now = now
	rows := s.lines(now, before)
	if s.test != nil {
		rows = slices.DeleteFunc(rows, func(r R) bool { return !s.test(r) })
	}
	s.shown = s.columns[s.by].Sort(rows, s.down)
}

func (s *sheet[R]) len() int { return len(s.shown) }

func (s *sheet[R]) id(i int) string { return s.key(s.shown[i]) }

func (s *sheet[R]) cells(i int) (line []cli.Cell) {
	for k := range s.columns {
		if c := &s.columns[k]; !c.Extra {
			line = append(line, c.Cell(s.shown[i]))
		}
	}
	return line
}

func (s *sheet[R]) headings() (line []cli.Cell) {
	for k, c := range s.columns {
		if c.Extra {
			continue
		}
		text := c.Heading
		switch {
		case k == s.by && s.down:
			text += "↓"
		case k == s.by:
			text += "↑"
		}
		line = append(line, cli.Cell{Text: text, Tint: cli.Heading})
	}
	return line
}

func (s *sheet[R]) whole() (list []bool) {
	for _, c := range s.columns {
		if !c.Extra {
			list = append(list, c.Whole || c.Number != nil)
		}
	}
	return list
}

// detail returns all of a line: its columns, and what else is known of it.
func (s *sheet[R]) detail(i int) (list []string) {
	for k := range s.columns {
		c := &s.columns[k]
		list = append(list, fmt.Sprintf("%-14s %s", strings.ToLower(c.Heading), cli.Printable(c.Text(s.shown[i]))))
	}
	if s.look != nil {
		for _, l := range s.look(s.shown[i], s.now) {
			list = append(list, cli.Printable(l))
		}
	}
	return list
}

func (s *sheet[R]) all() any { return s.shown }

func (s *sheet[R]) order() (string, bool) { return s.columns[s.by].Name, s.down }

func (s *sheet[R]) orderBy(name string) error {
	column, down := strings.CutPrefix(name, "-")
	i := slices.IndexFunc(s.columns, func(c cli.Column[R]) bool { return strings.EqualFold(c.Name, column) })
	if i < 0 {
		var names []string
		for _, c := range s.columns {
			names = append(names, c.Name)
		}
		return fmt.Errorf("--sort: the view %s has no column %q; it has %s", s.title, column, strings.Join(names, ", "))
	}
	s.by, s.down = i, down
	return nil
}

func (s *sheet[R]) turn(columns int) {
	for range s.columns {
		s.by = (s.by + columns + len(s.columns)) % len(s.columns)
		if !s.columns[s.by].Extra {
			break
		}
	}
	s.down = s.columns[s.by].Number != nil
}

func (s *sheet[R]) reverse() { s.down = !s.down }

func (s *sheet[R]) filtered() string { return s.filter }

// narrow shows only lines for which a condition on a column holds, or with a text in them.
func (s *sheet[R]) narrow(filter string) error {
	s.filter, s.test = filter, nil
	if strings.TrimSpace(filter) == "" {
		s.filter = ""
		return nil
	}
	test, err := cli.Condition(s.columns, filter)
	switch {
	case err == nil:
		s.test = test
	case strings.ContainsAny(filter, "=~<>"):
		return err
	default:
		text := strings.ToLower(filter)
		s.test = func(r R) bool {
			for k := range s.columns {
				if strings.Contains(strings.ToLower(s.columns[k].Text(r)), text) {
					return true
				}
			}
			return false
		}
	}
	return nil
}
