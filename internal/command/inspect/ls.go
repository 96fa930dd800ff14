package inspect

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/command/cli"
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

// called is the column NAME.
func (r SegmentRow) called() string {
	switch r.Kind {
	case "":
		return "-"
	case "segment":
		return r.Name
	case "names":
		return "(names)"
	}
	return fmt.Sprintf("%s (%s)", r.Name, r.Kind)
}

type HolderRow struct {
	Session string `json:"session"`
	Pid     int    `json:"pid"`
	App     string `json:"app"`
}

func (a *app) lsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "ls",
		Short: "List the segments: name, size, references, who holds them, what they are called in the system",
		Long: `List the segments: name, size, references, who holds them, what they are called in the system.

The name is that of package registry. Of a named area or hash table it stands beside the first segment. Segments that
are carved out of the reserved region (min_dynamic_shared_memory) have its name in the system, and their place in it.

Pids are as each process sees itself: those of another pid namespace (a container) are other numbers here, or
nobody's. ps lists the sessions by the names that errors have too.

The exit status is 3 if no supervisor lives.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := dsm.Inspect(cmd.Context(), a.Config)
			if err != nil {
				return cli.Probed(r.Status, err)
			}
			names := map[dsm.Handle]registry.Info{}
			list, err := registry.Names(r)
			if err != nil {
				return err
			}
			for _, x := range list {
				names[x.Handle] = x
			}
			rows := []SegmentRow{}
			for _, s := range r.Segments {
				x := names[s.Handle]
				if s.Root {
					x.Kind = "names"
				}
				row := SegmentRow{
					Handle: s.Handle, Name: x.Name, Kind: x.Kind, Type: x.Type, Size: s.Size, Refs: s.Refs,
					Pinned: s.Pinned, State: s.State, Backend: s.Backend, Reserved: s.Reserved, OSName: s.OSName,
					CreatorPid: s.CreatorPid, AgeSeconds: cli.Age(s.Created),
					Holders: []HolderRow{}, Changed: s.Changed,
				}
				if s.Failed != nil {
					row.Error = s.Failed.Error()
				}
				for _, h := range s.Holders {
					row.Holders = append(row.Holders, HolderRow{h.Name, h.Pid, h.Application})
				}
				rows = append(rows, row)
			}
			if a.JSON {
				return cli.Probed(r.Status, a.PrintJSON(rows))
			}
			heading := "HANDLE\tNAME\tSIZE\tREFS\tPINNED\tSTATE\tAGE\tCREATOR\tHOLDERS\tIN THE SYSTEM"
			err = cli.PrintTable(a.Stdout, heading, rows, func(row SegmentRow) string {
				holders := []string{}
				for _, h := range row.Holders {
					holders = append(holders, fmt.Sprintf("%d (%s)", h.Pid, h.App))
				}
				state := row.State
				if row.Error != "" {
					state += ": " + row.Error
				}
				if row.Changed {
					state += " (changing)"
				}
				return fmt.Sprintf("%s\t%s\t%d\t%d\t%s\t%s\t%s\t%d\t%s\t%s", row.Handle, row.called(), row.Size,
					row.Refs, cli.Yes(row.Pinned), state, cli.Seconds(row.AgeSeconds), row.CreatorPid,
					cmp.Or(strings.Join(holders, ", "), "-"), row.OSName)
			})
			return cli.Probed(r.Status, err)
		},
	}
}
