package top

import (
	"fmt"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/command/cli"
	"github.com/godsm/godsm/internal/command/inspect"
)

// sessionRow is a line of the sessions.
type sessionRow struct {
	inspect.SessionRow
	Creates  float64 `json:"creates_per_second"`
	Attaches float64 `json:"attaches_per_second"`
}

var sessionColumns = func() (list []cli.Column[sessionRow]) {
	for _, c := range inspect.SessionColumns {
		x := cli.Column[sessionRow]{Name: c.Name, Heading: c.Heading, Whole: c.Whole, Extra: c.Extra,
			Text: func(r sessionRow) string { return c.Text(r.SessionRow) }}
		if c.Number != nil {
			x.Number = func(r sessionRow) float64 { return c.Number(r.SessionRow) }
		}
		if c.Tint != nil {
			x.Tint = func(r sessionRow) cli.Tint { return c.Tint(r.SessionRow) }
		}
		list = append(list, x)
	}
	return append(list,
		cli.Column[sessionRow]{Name: "creates", Heading: "CREATES/S", Text: func(r sessionRow) string { return fmt.Sprintf("%.0f", r.Creates) },
			Number: func(r sessionRow) float64 { return r.Creates }},
		cli.Column[sessionRow]{Name: "attaches", Heading: "ATTACHES/S", Text: func(r sessionRow) string { return fmt.Sprintf("%.0f", r.Attaches) },
			Number: func(r sessionRow) float64 { return r.Attaches }})
}()

func sessionRows(now, before *picture) (rows []sessionRow) {
	old, seconds := map[string]dsm.Done{}, now.Since(before)
	if before != nil {
		for _, s := range before.Report.Sessions {
			old[s.Name] = s.Done
		}
	}
	done := map[string]dsm.Done{}
	for _, s := range now.Report.Sessions {
		done[s.Name] = s.Done
	}
	for _, r := range inspect.Sessions(now.Report) {
		x, b := done[r.Session], old[r.Session]
		rows = append(rows, sessionRow{r, rate(x.Creates, b.Creates, seconds), rate(x.Attaches, b.Attaches, seconds)})
	}
	return rows
}

func sessions() view {
	return &sheet[sessionRow]{
		title: "sessions", columns: sessionColumns, by: indexOf(sessionColumns, "bytes"), down: true,
		lines: sessionRows,
		key:   func(r sessionRow) string { return r.Session },
		look: func(r sessionRow, now *picture) (list []string) {
			list = append(lockLinesOf(now, r.Pid), "", "segments that it holds:")
			byHandle := namesOf(now)
			for _, s := range now.Report.Segments {
				for _, h := range s.Holders {
					if h.Name == r.Session {
						list = append(list, fmt.Sprintf("  %v  %10s  %s", s.Handle, cli.Size(int64(s.Size)), byHandle(s.Handle.String())))
					}
				}
			}
			return list
		},
	}
}
