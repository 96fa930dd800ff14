package locks

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/godsm/godsm/internal/command/cli"
	"github.com/godsm/godsm/internal/survey"
	"github.com/spf13/cobra"
)

// WaitRow says that a session holds a lock that lies in a segment, or waits for it.
type WaitRow struct {
	Segment string `json:"segment"`
	Name    string `json:"name,omitempty"` // of what lies there, or of the area that the segment belongs to
	Kind    string `json:"kind,omitempty"`
	Offset  int    `json:"offset"`
	State   string `json:"state"` // holds, waits
	Session string `json:"session"`
	Pid     int    `json:"pid"`
	App     string `json:"app"`
	Process string `json:"process"` // its session's state
	Mode    string `json:"mode"`
}

// who returns the text of the column WHO.
func (r WaitRow) who() string {
	return whoIs(r.Pid, strings.TrimPrefix(r.Process, "running"), r.App, "")
}

var waitColumns = []cli.Column[WaitRow]{
	{Name: "segment", Heading: "SEGMENT", Text: func(r WaitRow) string { return r.Segment }, Whole: true},
	{Name: "name", Heading: "NAME", Text: func(r WaitRow) string { return cmp.Or(r.Name, "-") }},
	cli.Count("offset", "OFFSET", func(r WaitRow) int { return r.Offset }),
	{Name: "state", Heading: "STATE", Text: func(r WaitRow) string { return r.State }, Whole: true, Tint: func(r WaitRow) cli.Tint {
		if r.State == "waits" {
			return cli.Odd
		}
		return cli.Good
	}},
	{Name: "session", Heading: "SESSION", Text: func(r WaitRow) string { return r.Session }, Whole: true},
	{Name: "who", Heading: "WHO", Text: WaitRow.who},
	{Name: "mode", Heading: "MODE", Text: func(r WaitRow) string { return r.Mode }, Whole: true},
	{Name: "kind", Heading: "KIND", Text: func(r WaitRow) string { return cmp.Or(r.Kind, "-") }, Extra: true},
	{Name: "pid", Heading: "PID", Text: func(r WaitRow) string { return fmt.Sprint(r.Pid) }, Extra: true},
}

func (a *app) waitsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "waits [NAME|HANDLE]",
		GroupID: cli.See,
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return a.Targets(cmd), cobra.ShellCompDirectiveNoFileComp
		},
		Short: "Find the locks inside of segments for which a session waits: who holds them, and who waits",
		Long: `Find the locks inside of segments for which a session waits: who holds them, and who waits. They are those of package shmsync
(LWLock) that programs put into their own memory, and those inside of areas, hash tables, caches and lock tables, wherever they lie.
The locks of lock tables, which have names, are shown by locks.

It looks through all bytes of the segments, or of those of one name or handle, for words that can be such a lock and name sessions that
live. It joins nothing and takes no lock, so it answers while holders are stopped. A wait shorter than the look may be missed, and one
that has just ended be shown: what is stuck is there each time. At most 13 that wait are listed of a lock. A lock that is held and for
which no session waits is not shown. A gigabyte takes about a second.`,
		Args: cobra.MaximumNArgs(1),
	}
	list := cli.NewListing(cmd, waitColumns...)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		words, err := survey.Words(cmd.Context(), a.Config, strings.Join(args, ""))
		if err != nil {
			return err
		}
		rows := []WaitRow{}
		for _, w := range words {
			for _, side := range []struct {
				state string
				list  []survey.WordParty
			}{{"holds", w.Holders}, {"waits", w.Waiters}} {
				for _, p := range side.list {
					rows = append(rows, WaitRow{w.Segment.String(), w.In.Name, w.In.Kind, w.Offset, side.state, p.Name, p.Pid, p.Application,
						string(p.State), map[bool]string{true: "shared", false: "exclusive"}[p.Shared]})
				}
			}
		}
		return list.Show(a.App, rows)
	}
	return cmd
}

// whoIs names a process for people. What its session is, if it is not running, comes first: that must not be cut off.
func whoIs(pid int, state, application, note string) string {
	s := fmt.Sprintf("pid %d", pid)
	if state != "" {
		s += " [" + state + "]"
	}
	if application != "" {
		s += " (" + application + ")"
	}
	if note != "" {
		s += fmt.Sprintf(" %q", note)
	}
	return s
}
