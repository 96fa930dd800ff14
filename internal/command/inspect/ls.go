package inspect

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/command/cli"
	"github.com/godsm/godsm/internal/survey"
	"github.com/godsm/godsm/registry"
	"github.com/spf13/cobra"
)

// These take no row and no lock (dsm.Inspect), so they answer when nothing else does.

// SegmentRow is a line of ls.
type SegmentRow struct {
	Handle     dsm.Handle  `json:"handle"`
	Name       string      `json:"name,omitempty"`
	Kind       string      `json:"kind,omitempty"` // segment, area, hash; names: the table of all names
	Type       string      `json:"type,omitempty"`
	PartOf     string      `json:"part_of,omitempty"` // the name of the area that it belongs to, and is not the first segment of
	Size       int         `json:"size"`
	Refs       int         `json:"refs"`
	Pinned     bool        `json:"pinned"`
	State      string      `json:"state"`
	Backend    string      `json:"backend"`
	Reserved   bool        `json:"reserved"`
	OSName     string      `json:"os_name"`
	CreatorPid int         `json:"creator_pid"`
	AgeSeconds float64     `json:"age_seconds"`
	Holders    []HolderRow `json:"holders"`
	Error      string      `json:"error,omitempty"`
	Changed    bool        `json:"changed,omitempty"`
}

// called returns the text of the column NAME.
func (r SegmentRow) called() string {
	switch r.Kind {
	case "":
		if r.PartOf != "" {
			return "of " + r.PartOf
		}
		return "-"
	case "segment":
		return r.Name
	case "names":
		return "(names)"
	}
	return fmt.Sprintf("%s (%s)", r.Name, r.Kind)
}

// HolderRow is a session that holds something.
type HolderRow struct {
	Session string `json:"session"`
	Pid     int    `json:"pid"`
	App     string `json:"app"`
}

// state returns the text of the column STATE.
func (r SegmentRow) state() string {
	state := r.State
	if r.Error != "" {
		state += ": " + r.Error
	}
	if r.Changed {
		state += " (changing)"
	}
	return state
}

// holders returns the text of the column HOLDERS.
func (r SegmentRow) holders() string {
	var list []string
	for _, h := range r.Holders {
		list = append(list, fmt.Sprintf("%d (%s)", h.Pid, h.App))
	}
	return cmp.Or(strings.Join(list, ", "), "-")
}

// SegmentColumns are those of ls.
var SegmentColumns = []cli.Column[SegmentRow]{
	{Name: "handle", Heading: "HANDLE", Text: func(r SegmentRow) string { return r.Handle.String() }, Whole: true},
	{Name: "name", Heading: "NAME", Text: SegmentRow.called},
	cli.Count("size", "SIZE", func(r SegmentRow) int { return r.Size }),
	cli.Count("refs", "REFS", func(r SegmentRow) int { return r.Refs }),
	{Name: "pinned", Heading: "PINNED", Text: func(r SegmentRow) string { return cli.Yes(r.Pinned) }},
	{Name: "state", Heading: "STATE", Text: SegmentRow.state, Tint: func(r SegmentRow) cli.Tint {
		switch {
		case r.State == "live" && r.Error == "":
			return cli.Good
		case r.State == "corrupt" || r.Error != "":
			return cli.Bad
		}
		return cli.Odd
	}},
	cli.Time("age", "AGE", func(r SegmentRow) float64 { return r.AgeSeconds }),
	cli.Count("creator", "CREATOR", func(r SegmentRow) int { return r.CreatorPid }),
	{Name: "holders", Heading: "HOLDERS", Text: SegmentRow.holders},
	{Name: "system", Heading: "IN THE SYSTEM", Text: func(r SegmentRow) string { return r.OSName }},
	{Name: "kind", Heading: "KIND", Text: func(r SegmentRow) string { return cmp.Or(r.Kind, "-") }, Extra: true},
	{Name: "type", Heading: "TYPE", Text: func(r SegmentRow) string { return cmp.Or(r.Type, "-") }, Extra: true},
	{Name: "backend", Heading: "BACKEND", Text: func(r SegmentRow) string { return r.Backend }, Extra: true},
	{Name: "reserved", Heading: "RESERVED", Text: func(r SegmentRow) string { return cli.Yes(r.Reserved) }, Extra: true},
}

// Segments returns the lines for what was seen of an instance: its names, and which segments are parts of them.
func Segments(r dsm.Report, list []registry.Info, parts map[dsm.Handle]registry.Info) []SegmentRow {
	names := map[dsm.Handle]registry.Info{}
	for _, x := range list {
		names[x.Handle] = x
	}
	rows := make([]SegmentRow, 0, len(r.Segments))
	for _, s := range r.Segments {
		x := names[s.Handle]
		if s.Root {
			x.Kind = "names"
		}
		row := SegmentRow{
			Handle: s.Handle, Name: x.Name, Kind: x.Kind, Type: x.Type, Size: s.Size, Refs: s.Refs,
			Pinned: s.Pinned, State: s.State.String(), Backend: s.Backend, Reserved: s.Reserved, OSName: s.OSName,
			CreatorPid: s.CreatorPid, AgeSeconds: cli.Age(s.Created),
			Holders: []HolderRow{}, Changed: s.Changed,
		}
		if row.Name == "" {
			row.PartOf = parts[s.Handle].Name
		}
		if s.Failed != nil {
			row.Error = s.Failed.Error()
		}
		for _, h := range s.Holders {
			row.Holders = append(row.Holders, HolderRow{h.Name, h.Pid, h.Application})
		}
		rows = append(rows, row)
	}
	return rows
}

func (a *app) lsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "ls",
		GroupID: cli.See,
		Short:   "List the segments: name, size, references, who holds them, what they are called in the system",
		Long: `List the segments: name, size, references, who holds them, what they are called in the system.

The name is that of package registry. Of a named area, or of what lies in one, the first segment has it, and of the others it is said
that they are "of" it, with --json part_of. Segments that are carved
out of the reserved region (min_dynamic_shared_memory) have its name in the system, and their place in it.

Pids are as each process sees itself: those of another pid namespace (a container) are other numbers here, or no
process's. ps lists the sessions by the names that errors have too.

The exit status is 3 if no supervisor lives.`,
		Args: cobra.NoArgs,
	}
	list := cli.NewListing(cmd, SegmentColumns...)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		s, err := survey.Brief(cmd.Context(), a.Config)
		if err == nil {
			err = s.Err
		}
		if err != nil {
			return cli.ErrIfUnsupervised(s.Report.Status, err)
		}
		return cli.ErrIfUnsupervised(s.Report.Status, list.Show(a.App, Segments(s.Report, s.Names, s.Parts)))
	}
	return cmd
}
