package cli

import (
	"io"
	"strings"
	"unicode"

	"github.com/rivo/uniseg"
)

// Cell is one of a Grid.
type Cell struct {
	Text string
	Tint Tint
}

// Grid is a table: columns are aligned, two spaces apart.
type Grid struct {
	Lines [][]Cell
	Whole []bool // columns that are not cut, but as the last resort
}

const (
	gap      = 2
	leastCut = 8 // a column is not cut to less
)

// widths returns how wide columns are: as their widest cells, or less, so that a line fits width, if it is above 0.
func (g *Grid) widths(width int) (list []int) {
	list = make([]int, len(g.Whole))
	for i := range g.Lines {
		for k := range g.Lines[i] {
			g.Lines[i][k].Text = Printable(g.Lines[i][k].Text)
			list[k] = max(list[k], uniseg.StringWidth(g.Lines[i][k].Text))
		}
	}
	if width <= 0 {
		return list
	}
	over := (len(list) - 1) * gap
	for _, w := range list {
		over += w
	}
	for over -= width; over > 0; over-- {
		widest := -1
		for k, w := range list {
			if !g.Whole[k] && w > leastCut && (widest < 0 || w > list[widest]) {
				widest = k
			}
		}
		if widest < 0 {
			break
		}
		list[widest]--
	}
	return list
}

// Render returns the lines of the table. They are cut to width, if that is above 0.
func (g *Grid) Render(width int, colours bool) (lines []string) {
	widths := g.widths(width)
	for _, line := range g.Lines {
		var b strings.Builder
		left := width
		for k, c := range line {
			w := widths[k]
			if width > 0 {
				if left <= 0 {
					break
				}
				w = min(w, left)
				left -= w + gap
			}
			text := Cut(c.Text, w)
			pad := w - uniseg.StringWidth(text)
			if colours {
				text = c.Tint.Paint(text)
			}
			b.WriteString(text)
			if k < len(line)-1 && (width <= 0 || left > 0) {
				b.WriteString(strings.Repeat(" ", max(pad, 0)+gap))
			}
		}
		lines = append(lines, b.String())
	}
	return lines
}

// print writes the table.
func (g *Grid) print(out io.Writer, width int, colours bool) error {
	var b strings.Builder
	for _, l := range g.Render(width, colours) {
		b.WriteString(l)
		b.WriteByte('\n')
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// Cut returns text, or its beginning with an ellipsis, so that it takes at most width columns.
func Cut(text string, width int) string {
	if uniseg.StringWidth(text) <= width {
		return text
	}
	var b strings.Builder
	used, state := 0, -1
	for rest := text; rest != ""; {
		var cluster string
		var w int
		cluster, rest, w, state = uniseg.FirstGraphemeClusterInString(rest, state)
		if used+w > width-1 {
			break
		}
		b.WriteString(cluster)
		used += w
	}
	if width < 1 {
		return ""
	}
	return b.String() + "…"
}

// Printable returns a text of shared memory without what a terminal would obey, and what would break a line.
func Printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' || unicode.Is(unicode.Bidi_Control, r) {
			return '?'
		}
		return r
	}, s)
}
