package top

import (
	"strings"

	"github.com/godsm/godsm/internal/survey"
)

// picture is what was seen of an instance: a survey of it, of which each view shows a part.
type picture = survey.Survey

// waiting counts who waits for whom in lock tables.
func waiting(p *picture) (n int) {
	for i := range p.Tables {
		n += len(p.Tables[i].Waits)
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
