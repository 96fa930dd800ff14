package top

import (
	"strings"

	"github.com/godsm/godsm/internal/survey"
)

// picture is what was seen of an instance: a survey of it, of which each view shows a part.
type picture = survey.Survey

// waiting counts the waiters of lock tables. One of them may wait for several holders.
func waiting(p *picture) (n int) {
	for _, t := range p.Tables {
		for _, l := range t.Locks {
			n += len(l.Waiters)
		}
	}
	return n
}

// unreadable lists what could not be read and has no row that says so: the names, and lock tables.
func unreadable(p *picture) (list []string) {
	if p.Err != nil {
		list = append(list, p.Err.Error())
	}
	for _, t := range p.Tables {
		if t.Err != nil {
			list = append(list, t.Name+": "+t.Err.Error())
		}
	}
	return list
}

// rate returns how much a count went up in a second. One that went down began anew.
func rate(now, before uint64, seconds float64) float64 {
	if seconds == 0 {
		return 0
	}
	return float64(now-min(now, before)) / seconds
}

// bar draws a part of 1.
func bar(part float64, width int) string {
	n := int(min(max(part, 0), 1)*float64(width) + 0.5)
	return strings.Repeat("█", n) + strings.Repeat("░", width-n)
}
