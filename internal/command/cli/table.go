package cli

import "strings"

// PrintTable prints rows under a heading: columns are aligned, and on a terminal lines are cut to its width. The cells of a
// line are what is between its tabs. A column of numbers is not cut.
func PrintTable[R any](a *App, heading string, rows []R, line func(R) string) error {
	g := Grid{Whole: make([]bool, strings.Count(heading, "\t")+1)}
	for i := range g.Whole {
		g.Whole[i] = true
	}
	for i, text := range append([]string{heading}, texts(rows, line)...) {
		var cells []Cell
		for _, c := range strings.Split(text, "\t") {
			cell := Cell{Text: c}
			if i == 0 {
				cell.Tint = Heading
			} else if c == "" || c[0] < '0' || c[0] > '9' {
				g.Whole[len(cells)] = false
			}
			cells = append(cells, cell)
		}
		g.Lines = append(g.Lines, cells)
	}
	return g.print(a.Stdout, a.Width(), a.Colours())
}

func texts[R any](rows []R, line func(R) string) (list []string) {
	for _, r := range rows {
		list = append(list, line(r))
	}
	return list
}
