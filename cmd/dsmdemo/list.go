package main

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/bytesize"
	"github.com/godsm/godsm/internal/doctor"
	"github.com/godsm/godsm/registry"
	"github.com/spf13/cobra"
)

// These take no row and no lock (dsm.Inspect), so they answer when nothing else does.

// segmentRow is a line of ls.
type segmentRow struct {
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
	Holders    []holderRow `json:"holders"`
	Error      string      `json:"error,omitempty"`
	Changed    bool        `json:"changed,omitempty"`
}

// called is the column NAME.
func (r segmentRow) called() string {
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

type holderRow struct {
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
			r, err := dsm.Inspect(cmd.Context(), a.config)
			if err != nil {
				return probed(r.Status, err)
			}
			names := map[dsm.Handle]registry.Info{}
			list, err := registry.Names(r)
			if err != nil {
				return err
			}
			for _, x := range list {
				names[x.Handle] = x
			}
			rows := []segmentRow{}
			for _, s := range r.Segments {
				x := names[s.Handle]
				if s.Root {
					x.Kind = "names"
				}
				row := segmentRow{
					Handle: s.Handle, Name: x.Name, Kind: x.Kind, Type: x.Type, Size: s.Size, Refs: s.Refs,
					Pinned: s.Pinned, State: s.State, Backend: s.Backend, Reserved: s.Reserved, OSName: s.OSName,
					CreatorPid: s.CreatorPid, AgeSeconds: age(s.Created),
					Holders: []holderRow{}, Changed: s.Changed,
				}
				if s.Failed != nil {
					row.Error = s.Failed.Error()
				}
				for _, h := range s.Holders {
					row.Holders = append(row.Holders, holderRow{h.Name, h.Pid, h.Application})
				}
				rows = append(rows, row)
			}
			if a.json {
				return probed(r.Status, a.printJSON(rows))
			}
			heading := "HANDLE\tNAME\tSIZE\tREFS\tPINNED\tSTATE\tAGE\tCREATOR\tHOLDERS\tIN THE SYSTEM"
			err = printTable(a.stdout, heading, rows, func(row segmentRow) string {
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
					row.Refs, yes(row.Pinned), state, seconds(row.AgeSeconds), row.CreatorPid,
					cmp.Or(strings.Join(holders, ", "), "-"), row.OSName)
			})
			return probed(r.Status, err)
		},
	}
}

// sessionRow is a line of ps.
type sessionRow struct {
	Session    string  `json:"session"` // its name, as errors have it
	Pid        int     `json:"pid"`
	App        string  `json:"app"`
	State      string  `json:"state"`
	Segments   int     `json:"segments"`
	Bytes      uint64  `json:"bytes"`
	AgeSeconds float64 `json:"age_seconds"`
}

func (a *app) psCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "ps",
		Short: "List the sessions: which processes, and how much they hold",
		Long: `List the sessions: which processes, and how much they hold. SESSION is a session's name in errors: its row in
the process table, and how often that has been used.

The exit status is 3 if no supervisor lives.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := dsm.Inspect(cmd.Context(), a.config)
			if err != nil {
				return probed(r.Status, err)
			}
			rows := []sessionRow{}
			for _, s := range r.Sessions {
				rows = append(rows, sessionRow{s.Name, s.Pid, s.Application, s.State, s.Segments, s.Bytes, age(s.Started)})
			}
			if a.json {
				return probed(r.Status, a.printJSON(rows))
			}
			err = printTable(a.stdout, "SESSION\tPID\tAPPLICATION\tSTATE\tSEGMENTS\tBYTES\tAGE",
				rows, func(r sessionRow) string {
					return fmt.Sprintf("%s\t%d\t%s\t%s\t%d\t%d\t%s", r.Session, r.Pid, r.App, r.State, r.Segments,
						r.Bytes, seconds(r.AgeSeconds))
				})
			return probed(r.Status, err)
		},
	}
}

// statusReport is what status prints.
type statusReport struct {
	Dir           string     `json:"dir"`
	Instance      string     `json:"instance"`
	Generation    uint64     `json:"generation"`
	Backend       string     `json:"backend"`
	SupervisorPid int        `json:"supervisor_pid"`
	Supervised    bool       `json:"supervisor_alive"`
	Closing       bool       `json:"closing"`
	Sessions      int        `json:"sessions"`
	MaxProcesses  int        `json:"max_processes"`
	Segments      int        `json:"segments"`
	MaxSegments   int        `json:"max_segments"`
	Bytes         uint64     `json:"bytes"`
	MaxMemory     uint64     `json:"max_memory"` // 0: no limit
	Reserved      uint64     `json:"reserved"`
	ReservedUsed  uint64     `json:"reserved_used"`
	LockHolder    *holderRow `json:"lock_holder"`
	LockState     string     `json:"lock_holder_state,omitempty"`
}

func (a *app) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show the instance as a whole: supervisor, use of the tables, limits",
		Long: `Show the instance as a whole: supervisor, use of the tables, limits.

As a probe: the exit status is 0 if a supervisor lives, 3 if none does, 1 if that can't be told.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := dsm.Inspect(cmd.Context(), a.config)
			if err != nil {
				return probed(r.Status, err)
			}
			st := r.Status
			out := statusReport{
				Dir: st.Dir, Instance: st.Instance.String(), Generation: st.Generation, Backend: st.Backend,
				SupervisorPid: st.Supervisor, Supervised: st.Supervised, Closing: st.Closing,
				Sessions: st.Sessions, MaxProcesses: st.MaxProcesses, Segments: st.Segments,
				MaxSegments: st.MaxSegments, Bytes: st.Bytes, MaxMemory: st.MaxMemory,
				Reserved: st.Reserved, ReservedUsed: st.ReservedUsed,
			}
			if h := st.LockHolder; h != nil {
				out.LockHolder, out.LockState = &holderRow{h.Name, h.Pid, h.Application}, h.State
			}
			if a.json {
				return probed(st, a.printJSON(out))
			}
			return probed(st, a.printStatus(out))
		},
	}
}

func (a *app) printStatus(s statusReport) error {
	supervisor, lock, memory := fmt.Sprintf("process %d", s.SupervisorPid), "free", "no limit"
	if !s.Supervised {
		supervisor += ", dead: a new one would adopt the sessions"
	}
	if s.Closing {
		supervisor += ", stopping"
	}
	if s.LockHolder != nil {
		lock = fmt.Sprintf("held by session %s (process %d, %s, %s)", s.LockHolder.Session, s.LockHolder.Pid, s.LockHolder.App,
			s.LockState)
	}
	if s.MaxMemory > 0 {
		memory = "of " + bytesize.Format(s.MaxMemory)
	}
	reserved := "none (min_dynamic_shared_memory)"
	if s.Reserved > 0 {
		reserved = fmt.Sprintf("%s of %s are segments", bytesize.Format(s.ReservedUsed), bytesize.Format(s.Reserved))
	}
	segments := fmt.Sprintf("%d of %d", s.Segments, s.MaxSegments)
	if doctor.FewLeft(s.Segments, s.MaxSegments) {
		segments += ": few are left for names, connections and areas that grow (max_segments)"
	}
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	for _, l := range [][2]string{
		{"directory", s.Dir},
		{"instance", s.Instance},
		{"generation", fmt.Sprint(s.Generation)},
		{"backend", s.Backend},
		{"supervisor", supervisor},
		{"sessions", fmt.Sprintf("%d of %d", s.Sessions, s.MaxProcesses)},
		{"segments", segments},
		{"memory", bytesize.Format(s.Bytes) + ", " + memory},
		{"reserved", reserved},
		{"control lock", lock},
	} {
		fmt.Fprintf(w, "%s\t%s\n", l[0], l[1])
	}
	return w.Flush()
}

// printTable prints rows under a heading, columns aligned.
func printTable[R any](out io.Writer, heading string, rows []R, line func(R) string) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, heading)
	for _, r := range rows {
		fmt.Fprintln(w, line(r))
	}
	return w.Flush()
}

func age(t time.Time) float64 { return float64(time.Since(t).Milliseconds()) / 1000 }

func seconds(s float64) string {
	return time.Duration(s * float64(time.Second)).Round(100 * time.Millisecond).String()
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
