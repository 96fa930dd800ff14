package top

import (
	"fmt"

	"github.com/godsm/godsm/internal/command/inspect"
)

func segments() view {
	return &sheet[inspect.SegmentRow]{
		title: "segments", columns: inspect.SegmentColumns, by: indexOf(inspect.SegmentColumns, "size"), down: true,
		lines: func(now, _ *picture) []inspect.SegmentRow { return inspect.Segments(now.Report, now.Names, now.Parts) },
		key:   func(r inspect.SegmentRow) string { return r.Handle.String() },
		look: func(r inspect.SegmentRow, now *picture) (list []string) {
			list = append(list, "", "sessions that hold it:")
			for _, h := range r.Holders {
				list = append(list, fmt.Sprintf("  %s  process %d (%s)", h.Session, h.Pid, h.App))
			}
			return list
		},
	}
}
