package top

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/bytesize"
	"github.com/godsm/godsm/internal/command/cli"
	"github.com/godsm/godsm/internal/command/doctor"
)

const reverse, normal = "\x1b[7m", "\x1b[0m"

// lines of the screen that are not the table's: the head, the tabs, the heading, and the foot.
const (
	headLines  = 4
	otherLines = headLines + 1 + 1 + 1
)

// room returns how many lines of the table fit.
func (m *model) room() int { return max(m.height-otherLines, 1) }

func (m *model) paint(t cli.Tint, text string) string {
	if !m.colours {
		return text
	}
	return t.Paint(text)
}

// View draws the screen.
func (m *model) View() tea.View {
	v := tea.NewView(m.draw())
	v.AltScreen = true
	return v
}

// draw returns the lines of the screen, as one text.
func (m *model) draw() string {
	lines := append(m.head(), m.tabs())
	switch {
	case m.help:
		lines = append(lines, keys...)
	case m.inside && m.now != nil:
		lines = append(lines, m.inner()...)
	default:
		lines = append(lines, m.table()...)
	}
	for len(lines) < m.height-1 {
		lines = append(lines, "")
	}
	lines = append(lines[:max(min(len(lines), m.height-1), 0)], m.foot())
	for i := range lines {
		lines[i] = fit(lines[i], m.width)
	}
	return strings.Join(lines, "\n")
}

// inner returns the part of what is known of the chosen line that fits.
func (m *model) inner() []string {
	if m.sheet().len() == 0 {
		return []string{"it is gone"}
	}
	var lines []string
	for _, l := range m.sheet().detail(m.choice()) {
		lines = append(lines, wrap(l, m.width)...)
	}
	m.scroll = max(min(m.scroll, len(lines)-m.room()-1), 0)
	return lines[m.scroll:]
}

// wrap breaks a line between words so that its parts fit; all but the first are indented.
func wrap(line string, width int) (parts []string) {
	const indent = "    "
	for cli.Cut(line, width) != line && width > 2*len(indent) {
		at := strings.LastIndexByte(strings.TrimSuffix(cli.Cut(line, width), "…"), ' ')
		if at <= len(indent) || strings.TrimSpace(line[:at]) == "" {
			break // a word that is longer than a line; it is cut
		}
		parts = append(parts, line[:at])
		line = indent + line[at+1:]
	}
	return append(parts, line)
}

// fit cuts a line that has escapes only at its ends, or none.
func fit(line string, width int) string {
	if strings.Contains(line, "\x1b") {
		return line // its maker has cut it
	}
	return cli.Cut(line, width)
}

// head returns what is said of the instance as a whole.
func (m *model) head() []string {
	at := time.Now().Format("15:04:05")
	if m.now == nil {
		switch {
		case m.err != nil:
			return []string{"top  " + m.config.Dir + "  " + at, m.paint(cli.Bad, cli.Cut(m.trouble(), m.width)), "", ""}
		}
		return []string{"top  " + m.config.Dir + "  " + at, "looking ...", "", ""}
	}
	p := m.now
	first := fmt.Sprintf("%s  generation %d  %s  supervisor %s  %s", p.Report.Status.Dir, p.Report.Status.Generation, p.Report.Status.Backend, supervisorOf(p), at)
	if m.paused {
		first += "  PAUSED"
	}
	second := fmt.Sprintf("sessions %d of %d%s  segments %d of %d  memory %s%s", p.Report.Status.Sessions, p.Report.Status.MaxProcesses,
		unwell(p), p.Report.Status.Segments, p.Report.Status.MaxSegments, bytesize.Format(p.Report.Status.Bytes), limitOf(p))
	third := lockOf(p)
	tint := cli.Plain
	switch {
	case m.err != nil:
		third, tint = m.trouble(), cli.Bad
	case !p.Report.Status.Supervised:
		third, tint = "no supervisor lives: a start adopts the sessions. "+third, cli.Bad
	case doctor.FewLeft(p.Report.Status.Segments, p.Report.Status.MaxSegments):
		third, tint = "few segments are left (max_segments). "+third, cli.Odd
	case len(unreadable(p)) > 0:
		third, tint = "unreadable: "+strings.Join(unreadable(p), "; "), cli.Bad
	}
	return []string{m.paint(cli.Heading, cli.Cut(cli.Printable(first), m.width)), cli.Cut(second, m.width), cli.Cut(ratesOf(p, m.before), m.width),
		m.paint(tint, cli.Cut(cli.Printable(third), m.width))}
}

// ratesOf tells what was done in a second, and what there was of refusals and deaths since the generation began.
func ratesOf(p, before *picture) string {
	c, seconds := p.Report.Status.Counters, p.Since(before)
	var old dsm.Counters
	if before != nil {
		old = before.Report.Status.Counters
	}
	refused := c.Refused.Segments + c.Refused.Memory + c.Refused.Session + c.Refused.System + c.JoinsRefused
	return fmt.Sprintf("creates %.0f/s  attaches %.0f/s  detaches %.0f/s  lock waits %.0f/s  refused %d  reclaimed %d processes",
		rate(c.Creates, old.Creates, seconds), rate(c.Attaches, old.Attaches, seconds), rate(c.Detaches, old.Detaches, seconds),
		rate(c.LockWaits, old.LockWaits, seconds), refused, c.Reclaims)
}

// trouble says why there is no newer picture.
func (m *model) trouble() string {
	text := cli.Printable(cli.OneLine(m.err))
	if m.now != nil {
		return fmt.Sprintf("as of %s; since then: %s", m.now.Begun.Format("15:04:05"), text)
	}
	return text
}

func supervisorOf(p *picture) string {
	switch {
	case !p.Report.Status.Supervised:
		return fmt.Sprintf("%d (dead)", p.Report.Status.Supervisor)
	case p.Report.Status.Closing:
		return fmt.Sprintf("%d (stopping)", p.Report.Status.Supervisor)
	}
	return fmt.Sprint(p.Report.Status.Supervisor)
}

// unwell counts sessions that are not running.
func unwell(p *picture) string {
	counts, text := map[dsm.SessionState]int{}, ""
	for _, s := range p.Report.Sessions {
		counts[s.State]++
	}
	for _, state := range []dsm.SessionState{dsm.SessionStopped, dsm.SessionClosing, dsm.SessionDead, dsm.SessionUnseen} {
		if n := counts[state]; n > 0 {
			text += fmt.Sprintf(", %d %s", n, state)
		}
	}
	return text
}

func limitOf(p *picture) string {
	if p.Report.Status.MaxMemory == 0 {
		return ""
	}
	return " of " + bytesize.Format(p.Report.Status.MaxMemory)
}

func lockOf(p *picture) string {
	text := "control lock free"
	if h := p.Report.Status.LockHolder; h != nil {
		text = fmt.Sprintf("control lock held by session %s (process %d, %s, %s)", h.Name, h.Pid, h.Application, h.State)
	}
	if n := waiting(p); n > 0 {
		text += fmt.Sprintf("; %d waiting for locks of tables", n)
	}
	return text
}

// tabs returns the names of the views.
func (m *model) tabs() string {
	var parts []string
	for i, s := range m.sheets {
		text := fmt.Sprintf("%d %s", i+1, s.name())
		if i == m.current {
			text = "[" + text + "]"
		}
		parts = append(parts, text)
	}
	line := strings.Join(parts, "  ")
	if f := m.sheet().filtered(); f != "" {
		line += "   filter: " + f
	}
	return line
}

// table returns the part of the view that fits.
func (m *model) table() []string {
	if m.now == nil {
		return nil
	}
	s, room := m.sheet(), m.room()
	chosen := m.choice()
	switch {
	case chosen < m.top:
		m.top = chosen
	case chosen >= m.top+room:
		m.top = chosen - room + 1
	}
	m.top = max(min(m.top, s.len()-room), 0)
	g := cli.Grid{Whole: append([]bool{true}, s.whole()...)}
	g.Lines = append(g.Lines, append([]cli.Cell{{}}, s.headings()...))
	for i := m.top; i < min(s.len(), m.top+room); i++ {
		mark := " "
		if i == chosen {
			mark = ">"
		}
		g.Lines = append(g.Lines, append([]cli.Cell{{Text: mark}}, s.cells(i)...))
	}
	lines := g.Render(m.width, m.colours && m.err == nil)
	if at := chosen - m.top + 1; s.len() > 0 && at < len(lines) && m.screen {
		g.Lines = [][]cli.Cell{g.Lines[0], g.Lines[at]}
		lines[at] = reverse + strings.ReplaceAll(lines[at], normal, normal+reverse) + normal
	}
	if s.len() == 0 {
		lines = append(lines, "  nothing here")
	}
	return lines
}

// foot returns the last line.
func (m *model) foot() string {
	if m.typing {
		text := "filter: " + m.typed + "_"
		if m.fault != "" {
			text += "   " + m.fault
		}
		return text
	}
	column, down := m.sheet().order()
	way := map[bool]string{true: "greatest first", false: "least first"}[down]
	return fmt.Sprintf("? keys  q quit  1-%d view  enter look into  s sort  / filter   %d lines by %s, %s; every %v, a look takes %v",
		len(m.sheets), m.sheet().len(), column, way, m.interval, cmp.Or(m.took.Round(100*time.Microsecond), m.took))
}

var keys = []string{
	"",
	"  1-7, tab      choose a view; e: the events",
	"  up, down      choose a line (also k, j, page up, page down, home, end)",
	"  enter         look into the line; escape goes back",
	"  s, S          order by the next column, the one before",
	"  r             order the other way round",
	"  /             show only lines with a text in them, or COLUMN=VALUE (see ls)",
	"  space         pause, or go on",
	"  + -           more, or less, time between two looks",
	"  q             end",
	"",
	"  any key goes back",
}
