package inspect

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/command/cli"
	"github.com/godsm/godsm/registry"
	"github.com/spf13/cobra"
)

// NameRow is a line of names.
type NameRow struct {
	Name     string      `json:"name"`
	Kind     string      `json:"kind"`
	Type     string      `json:"type"`
	Version  uint64      `json:"version"`
	State    string      `json:"state"`
	Handle   dsm.Handle  `json:"handle"` // of the segment, or the first of the area
	Size     int64       `json:"size"`   // of an area that of its first segment
	Sessions []HolderRow `json:"sessions"`
}

// NameColumns are those of names.
var NameColumns = []cli.Column[NameRow]{
	{Name: "name", Heading: "NAME", Text: func(r NameRow) string { return r.Name }},
	{Name: "kind", Heading: "KIND", Text: func(r NameRow) string { return r.Kind }},
	{Name: "type", Heading: "TYPE", Text: func(r NameRow) string { return cmp.Or(r.Type, "-") }},
	cli.Count("version", "VERSION", func(r NameRow) uint64 { return r.Version }),
	{Name: "state", Heading: "STATE", Text: func(r NameRow) string { return r.State }, Tint: func(r NameRow) cli.Tint {
		if r.State == "ready" {
			return cli.Good
		}
		return cli.Odd
	}},
	{Name: "handle", Heading: "HANDLE", Text: func(r NameRow) string { return r.Handle.String() }, Whole: true},
	cli.Bytes("size", "SIZE", func(r NameRow) int64 { return r.Size }),
	{Name: "sessions", Heading: "SESSIONS", Text: func(r NameRow) string { return fmt.Sprint(len(r.Sessions)) },
		Number: func(r NameRow) float64 { return float64(len(r.Sessions)) }},
	{Name: "holders", Heading: "HOLDERS", Text: func(r NameRow) string {
		var list []string
		for _, h := range r.Sessions {
			list = append(list, fmt.Sprintf("%d (%s)", h.Pid, h.App))
		}
		return cmp.Or(strings.Join(list, ", "), "-")
	}, Extra: true},
}

// Names returns the lines for names.
func Names(infos []registry.Info) []NameRow {
	rows := []NameRow{}
	for _, x := range infos {
		row := NameRow{x.Name, x.Kind, x.Type, x.Version, x.State, x.Handle, x.Size, []HolderRow{}}
		for _, s := range x.Sessions {
			row.Sessions = append(row.Sessions, HolderRow{s.Name, s.Pid, s.Application})
		}
		rows = append(rows, row)
	}
	return rows
}

func (a *app) namesCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:               "names [NAME]",
		GroupID:           cli.See,
		ValidArgsFunction: a.First(a.NamesOf("")),
		Short:             "List the names: what each stands for, where it lies, how many sessions have it attached",
		Long: `List the names that package registry has, or one of them: what each stands for, its program's version, the segment it lies in
and how many sessions have that attached. It takes no row and no lock. The size of what lies in an area is that of the area's first
segment: verify tells of the whole.

The exit status is 3 if no supervisor lives.`,
		Args: cobra.MaximumNArgs(1),
	}
	list := cli.NewListing(cmd, NameColumns...)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		r, err := dsm.Inspect(cmd.Context(), a.Config)
		if err != nil {
			return cli.ErrIfUnsupervised(r.Status, err)
		}
		infos, err := registry.Names(r)
		if err != nil {
			return err
		}
		rows := Names(infos)
		if len(args) == 1 {
			rows = slices.DeleteFunc(rows, func(r NameRow) bool { return r.Name != args[0] })
			if len(rows) == 0 {
				return fmt.Errorf("there is no name %q: names lists them all", args[0])
			}
		}
		return cli.ErrIfUnsupervised(r.Status, list.Show(a.App, rows))
	}
	return cmd
}
