package top

import (
	"fmt"

	"github.com/godsm/godsm/internal/command/locks"
)

func lockLines() view {
	return &sheet[locks.Line]{
		title: "locks", columns: locks.Columns, by: indexOf(locks.Columns, "for"), down: true,
		lines: func(now, _ *picture) []locks.Line { return locks.Lines(locks.Rows(now)) },
		key:   func(l locks.Line) string { return l.Table + "\x00" + l.Name + "\x00" + l.Who + "\x00" + l.What },
		look: func(l locks.Line, now *picture) (list []string) {
			list = append(list, "", "who waits for whom:")
			for _, e := range locks.Edges(now) {
				if e.Table == l.Table && e.Name == l.Name {
					list = append(list, fmt.Sprintf("  %s wants %s; %s %s", e.Waiter, e.Wanted, e.Holder, e.Holding))
				}
			}
			return list
		},
	}
}

// lockLinesOf returns the locks that sessions of a process hold or wait for.
func lockLinesOf(now *picture, pid int) (list []string) {
	list = append(list, "", "locks:")
	for _, r := range locks.Rows(now) {
		for _, p := range r.Holders {
			if p.Pid == pid {
				list = append(list, fmt.Sprintf("  holds %s %s of %s %s", r.Name, p.Mode, r.Table, since(p.Seconds)))
			}
		}
	}
	for _, e := range locks.Edges(now) {
		switch pid {
		case e.Waiter.Pid:
			list = append(list, fmt.Sprintf("  waits for %s (%s), which %s %s", e.Name, e.Wanted, e.Holder, e.Holding))
		case e.Holder.Pid:
			list = append(list, fmt.Sprintf("  %s waits for it: %s (%s)", e.Waiter, e.Name, e.Wanted))
		}
	}
	return list
}
