package inspect

import (
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/bytesize"
	"github.com/godsm/godsm/internal/command/cli"
	"github.com/godsm/godsm/internal/command/doctor"
	"github.com/spf13/cobra"
)

// StatusReport is what status prints.
type StatusReport struct {
	Dir           string     `json:"dir"`
	Instance      string     `json:"instance"`
	Generation    uint64     `json:"generation"`
	Backend       string     `json:"backend"`
	SupervisorPid int        `json:"supervisor_pid"`
	Supervised    bool       `json:"supervisor_alive"`
	Left          *time.Time `json:"left,omitempty"` // when the last supervisor handed the instance over to the next one
	Closing       bool       `json:"closing"`
	Sessions      int        `json:"sessions"`
	MaxProcesses  int        `json:"max_processes"`
	Segments      int        `json:"segments"`
	MaxSegments   int        `json:"max_segments"`
	Bytes         uint64     `json:"bytes"`
	MaxMemory     uint64     `json:"max_memory"` // 0: no limit
	Reserved      uint64     `json:"reserved"`
	ReservedUsed  uint64     `json:"reserved_used"`
	LockHolder    *HolderRow `json:"lock_holder"`
	LockState     string     `json:"lock_holder_state,omitempty"`

	Counters dsm.Counters `json:"counters"` // since the generation began
}

func (a *app) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "status",
		GroupID: cli.See,
		Short:   "Show the instance as a whole: supervisor, use of the tables, limits",
		Long: `Show the instance as a whole: supervisor, use of the tables, limits.

As a probe: the exit status is 0 if a supervisor lives, 3 if none does, 1 if that can't be told.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := dsm.Inspect(cmd.Context(), a.Config)
			if err != nil {
				return cli.ErrIfUnsupervised(r.Status, err)
			}
			st := r.Status
			out := StatusReport{
				Dir: st.Dir, Instance: st.Instance.String(), Generation: st.Generation, Backend: st.Backend,
				SupervisorPid: st.Supervisor, Supervised: st.Supervised, Closing: st.Closing,
				Sessions: st.Sessions, MaxProcesses: st.MaxProcesses, Segments: st.Segments,
				MaxSegments: st.MaxSegments, Bytes: st.Bytes, MaxMemory: st.MaxMemory,
				Reserved: st.Reserved, ReservedUsed: st.ReservedUsed, Counters: st.Counters,
			}
			if !st.Left.IsZero() && !st.Supervised {
				out.Left = &st.Left
			}
			if h := st.LockHolder; h != nil {
				out.LockHolder, out.LockState = &HolderRow{h.Name, h.Pid, h.Application}, h.State.String()
			}
			if a.JSON {
				return cli.ErrIfUnsupervised(st, a.PrintJSON(out))
			}
			return cli.ErrIfUnsupervised(st, a.printStatus(out))
		},
	}
}

func (a *app) printStatus(s StatusReport) error {
	supervisor, lock, memory := fmt.Sprintf("process %d", s.SupervisorPid), "free", "no limit"
	switch {
	case s.Left != nil:
		supervisor += fmt.Sprintf(", left %s ago: the next one adopts the sessions and what is pinned", time.Since(*s.Left).Round(time.Second))
	case !s.Supervised:
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
	w := tabwriter.NewWriter(a.Stdout, 0, 0, 2, ' ', 0)
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
		{"counted", counted(s.Counters)},
	} {
		fmt.Fprintf(w, "%s\t%s\n", l[0], l[1])
	}
	return w.Flush()
}

// counted says what was counted since the generation began.
func counted(c dsm.Counters) string {
	r := c.Refused
	refused := r.Segments + r.Memory + r.Session + r.System + c.JoinsRefused + c.LockRefused
	return fmt.Sprintf("%d joins, %d deaths, %d creates, %d attaches, %d refusals", c.Joins, c.Reclaims, c.Creates, c.Attaches, refused)
}
