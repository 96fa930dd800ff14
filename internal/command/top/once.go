package top

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/command/cli"
	"github.com/godsm/godsm/internal/command/locks"
	"github.com/godsm/godsm/internal/survey"
)

// print prints pictures, as many as the flags say.
func (a *app) print(ctx context.Context, m *model, f flags) error {
	m.width, m.colours = a.Width(), a.Colours()
	for n := 1; ; n++ {
		p, err := survey.Take(ctx, a.Config)
		p.ReadEvents(ctx, a.Config, maxEvents)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return cli.ErrIfUnsupervised(dsm.Status{}, err)
		}
		m.see(seenMsg{picture: &p})
		if a.JSON {
			err = a.PrintJSON(m.json(f))
		} else {
			_, err = fmt.Fprint(a.Stdout, m.text(f))
		}
		if err = cli.ErrIfUnsupervised(p.Report.Status, err); err != nil || n == f.times || f.once {
			return err
		}
		select {
		case <-time.After(f.interval):
		case <-ctx.Done():
			return nil
		}
	}
}

// each calls show with the views that a picture has, filled: the one that was asked for, or all.
func (m *model) each(f flags, show func(s view)) {
	for i, s := range m.sheets {
		if f.view == "" || i == m.current {
			s.fill(m.now, m.before)
			show(s)
		}
	}
}

// text returns a picture as people read it.
func (m *model) text(f flags) string {
	var b strings.Builder
	width := m.width
	if width == 0 {
		m.width = 1 << 16 // a pipe's lines have any length
	}
	for _, l := range m.head() {
		b.WriteString(l + "\n")
	}
	m.each(f, func(s view) {
		n := s.len()
		if f.rows > 0 {
			n = min(n, f.rows)
		}
		if s.len() == 0 && f.view == "" {
			return
		}
		column, _ := s.order()
		fmt.Fprintf(&b, "\n%s, %d of %d by %s\n", s.name(), n, s.len(), column)
		g := cli.Grid{Whole: s.whole(), Lines: [][]cli.Cell{s.headings()}}
		for i := range n {
			g.Lines = append(g.Lines, s.cells(i))
		}
		for _, l := range g.Render(width, m.colours) {
			b.WriteString(l + "\n")
		}
	})
	if list := locks.Edges(m.now); len(list) > 0 && (f.view == "" || f.view == "locks") {
		fmt.Fprintf(&b, "\nwho waits for whom\n")
		for _, e := range list {
			b.WriteString(cli.Printable(fmt.Sprintf("%s/%s: %s wants %s; %s %s", e.Table, e.Name, e.Waiter, e.Wanted, e.Holder, e.Holding)) + "\n")
		}
	}
	m.width = width
	b.WriteByte('\n')
	return b.String()
}

// json returns a picture as programs read it.
func (m *model) json(f flags) map[string]any {
	st := m.now.Report.Status
	out := map[string]any{
		"at": m.now.Begun.UTC(), "seconds": m.now.Since(m.before), "dir": st.Dir, "instance": st.Instance.String(), "generation": st.Generation,
		"backend": st.Backend, "supervisor_pid": st.Supervisor, "supervisor_alive": st.Supervised, "closing": st.Closing,
		"session_count": st.Sessions, "max_processes": st.MaxProcesses, "segment_count": st.Segments, "max_segments": st.MaxSegments,
		"bytes": st.Bytes, "max_memory": st.MaxMemory, "counters": st.Counters,
	}
	m.each(f, func(s view) {
		if s.name() == "events" && f.view == "" {
			return // each picture would repeat a thousand; the command events tells each once
		}
		rows := s.all()
		if s.name() == "locks" {
			out["waits"] = append([]any{}, toAny(locks.Edges(m.now))...)
			rows = append([]any{}, toAny(locks.Rows(m.now))...)
		}
		out[s.name()] = rows
	})
	return out
}

func toAny[X any](list []X) (all []any) {
	for _, x := range list {
		all = append(all, x)
	}
	return all
}
