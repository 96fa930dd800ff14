package top

import (
	"fmt"
	"strings"

	"github.com/godsm/godsm/internal/command/inspect"
)

// maxEvents is how many events the view lists: as many as a generation keeps.
const maxEvents = 1024

// events returns the view of the last events, the latest first. It is there when the instance has ended, too, and tells how.
func events() view {
	return &sheet[inspect.EventRow]{
		title: "events", columns: inspect.EventColumns, by: indexOf(inspect.EventColumns, "time"), down: true,
		lines: func(now, _ *picture) (rows []inspect.EventRow) {
			for _, e := range now.Events {
				rows = append(rows, inspect.EventRowOf(e))
			}
			return rows
		},
		key:  func(r inspect.EventRow) string { return fmt.Sprint(r.Time.UnixNano(), r.Text) },
		look: sessionOf,
	}
}

// sessionOf says what has become of the session that an event tells of. Row 0 is the supervisor's, which is no session.
func sessionOf(r inspect.EventRow, now *picture) []string {
	if r.Session == "" || strings.HasPrefix(r.Session, "0/") {
		return nil
	}
	for _, s := range now.Report.Sessions {
		if s.Name == r.Session {
			return []string{"", fmt.Sprintf("the session is %s, and holds %d segments of %d bytes", s.State, s.Segments, s.Bytes)}
		}
	}
	return []string{"", "the session is not there any more"}
}
