package top

import (
	"fmt"

	"github.com/godsm/godsm/internal/command/inspect"
)

func names() view {
	return &sheet[inspect.NameRow]{
		title: "names", columns: inspect.NameColumns, by: indexOf(inspect.NameColumns, "name"),
		lines: func(now, _ *picture) []inspect.NameRow { return inspect.Names(now.Names) },
		key:   func(r inspect.NameRow) string { return r.Name },
		look: func(r inspect.NameRow, now *picture) (list []string) {
			list = append(list, "", "sessions that have it attached:")
			for _, h := range r.Sessions {
				list = append(list, fmt.Sprintf("  %s  process %d (%s)", h.Session, h.Pid, h.App))
			}
			return list
		},
	}
}

// namesOf returns what finds the name of a segment.
func namesOf(now *picture) func(handle string) string {
	found := map[string]string{}
	for _, x := range now.Names {
		found[x.Handle.String()] = fmt.Sprintf("%s (%s)", x.Name, x.Kind)
	}
	return func(handle string) string { return found[handle] }
}
