package inspect

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/command/cli"
	"github.com/godsm/godsm/internal/command/doctor"
	"github.com/godsm/godsm/internal/instance"
	"github.com/rs/zerolog"
	"github.com/spf13/cobra"
)

// InstanceRow is a line of instances.
type InstanceRow struct {
	Dir        string `json:"dir"`
	State      string `json:"state"` // running, stopping, unsupervised, none, unreadable
	Supervisor int    `json:"supervisor_pid,omitempty"`
	Generation uint64 `json:"generation,omitempty"`
	Backend    string `json:"backend,omitempty"`
	Private    bool   `json:"private"`
	Sessions   int    `json:"sessions"`
	Segments   int    `json:"segments"`
	Bytes      uint64 `json:"bytes"`
	Instance   string `json:"instance,omitempty"`
	Error      string `json:"error,omitempty"`
}

var instanceColumns = []cli.Column[InstanceRow]{
	{Name: "dir", Heading: "DIRECTORY", Text: func(r InstanceRow) string { return r.Dir }},
	{Name: "state", Heading: "STATE", Text: func(r InstanceRow) string { return r.State }, Whole: true, Tint: func(r InstanceRow) cli.Tint {
		switch r.State {
		case "running":
			return cli.Good
		case "none":
			return cli.Faint
		case "stopping":
			return cli.Odd
		}
		return cli.Bad
	}},
	cli.Count("supervisor", "SUPERVISOR", func(r InstanceRow) int { return r.Supervisor }),
	cli.Count("generation", "GENERATION", func(r InstanceRow) uint64 { return r.Generation }),
	{Name: "backend", Heading: "BACKEND", Text: func(r InstanceRow) string { return cmp.Or(r.Backend, "-") }},
	{Name: "private", Heading: "PRIVATE", Text: func(r InstanceRow) string { return cli.Yes(r.Private) }},
	cli.Count("sessions", "SESSIONS", func(r InstanceRow) int { return r.Sessions }),
	cli.Count("segments", "SEGMENTS", func(r InstanceRow) int { return r.Segments }),
	cli.Bytes("bytes", "BYTES", func(r InstanceRow) int64 { return int64(r.Bytes) }),
	{Name: "error", Heading: "ERROR", Text: func(r InstanceRow) string { return cmp.Or(r.Error, "-") }, Extra: true},
	{Name: "instance", Heading: "INSTANCE", Text: func(r InstanceRow) string { return cmp.Or(r.Instance, "-") }, Extra: true},
}

func (a *app) instancesCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "instances",
		GroupID: cli.See,
		Short:   "List this user's instances on this machine: where they are, and whether they are supervised",
		Long: `List this user's instances on this machine: that of --dir, that of the default directory, private ones, and those whose
memory is on /dev/shm, in whatever directory they are. An instance of type sysv or mmap is found by its directory alone.

STATE is running; stopping; unsupervised (its supervisor is dead: a start adopts it, clean removes it); none (a directory without
an instance); or unreadable, and then --columns dir,error tells why.`,
		Args:        cobra.NoArgs,
		Annotations: map[string]string{cli.NoCleaning: ""},
	}
	list := cli.NewListing(cmd, instanceColumns...)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		rows := []InstanceRow{}
		for _, dir := range a.directories() {
			rows = append(rows, look(cmd.Context(), a.Config, dir))
		}
		return list.Show(a.App, rows)
	}
	return cmd
}

// directories lists where an instance may be, sorted.
func (a *app) directories() (list []string) {
	seen := map[string]bool{}
	add := func(dir string) {
		if _, err := os.Stat(dir); err == nil || dir == a.Config.Dir && !errors.Is(err, fs.ErrNotExist) {
			seen[dir] = true
		}
	}
	add(a.Config.Dir)
	if dir, err := instance.DefaultDir(); err == nil {
		add(dir)
	}
	for _, d := range instance.PrivateDirs() {
		add(d.Path)
		d.Close()
	}
	for _, dir := range doctor.Here().Directories() {
		add(dir)
	}
	for dir := range seen {
		list = append(list, dir)
	}
	slices.Sort(list)
	return list
}

// look returns the line of the instance in a directory.
func look(ctx context.Context, cfg dsm.Config, dir string) InstanceRow {
	cfg.Dir, cfg.Logger = dir, zerolog.Nop()
	r, err := dsm.Inspect(ctx, cfg)
	row := InstanceRow{Dir: dir, State: "running"}
	switch st := r.Status; {
	case errors.Is(err, dsm.ErrNoInstance):
		row.State, row.Error = "none", err.Error()
	case err != nil:
		row.State, row.Error = "unreadable", fmt.Sprint(err)
	default:
		row.Supervisor, row.Generation, row.Backend, row.Private = st.Supervisor, st.Generation, st.Backend, st.Private
		row.Sessions, row.Segments, row.Bytes, row.Instance = st.Sessions, st.Segments, st.Bytes, st.Instance.String()
		switch {
		case !st.Supervised:
			row.State = "unsupervised"
		case st.Closing:
			row.State = "stopping"
		}
	}
	return row
}
