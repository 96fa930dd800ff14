package dsm

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/godsm/godsm/control"
	"github.com/godsm/godsm/internal/instance"
	"github.com/godsm/godsm/internal/sys/liveness"
	"github.com/godsm/godsm/shm/shmsync"
)

// SessionInfo describes a session. The supervisor has none.
type SessionInfo struct {
	// Name is row and incarnation, as errors have it: shmsync.Peer.
	Name string
	// Pid is the process as it sees itself: in another pid namespace it is another number.
	Pid         int
	Application string
	State       SessionState
	Started     time.Time
	Segments    int // held
	Bytes       uint64
	Done        Done
}

// glances holds what the system says of processes, each asked for once: a process may have many sessions.
type witnessLooks map[int]witnessLook

// glance is what the system says of one process: that it is stopped, and that no process here has its pid.
type witnessLook struct{ stopped, unseen bool }

// isSession reports whether a row of the process table is a session's: one is the supervisor's.
func isSession(p control.ProcessInfo) bool { return p.Row != control.SupervisorRow }

// sessionsByRow returns what is known of the users of process rows, by row: each is asked for once.
func sessionsByRow(b *instance.Books, processes []control.ProcessInfo) map[int]SessionInfo {
	held, seen, byRow := b.Held(processes), witnessLooks{}, make(map[int]SessionInfo, len(processes))
	for i, p := range processes {
		byRow[p.Row] = seen.sessionInfo(p, held[i])
	}
	return byRow
}

// sessionInfos returns the sessions among the users of rows, oldest first. It goes through them in the order of their
// rows, which is nearly that of their age.
func sessionInfos(processes []control.ProcessInfo, byRow map[int]SessionInfo) (list []SessionInfo) {
	if len(processes) > 0 {
		list = make([]SessionInfo, 0, len(processes))
	}
	for _, p := range processes {
		if isSession(p) {
			list = append(list, byRow[p.Row])
		}
	}
	slices.SortFunc(list, func(x, y SessionInfo) int {
		return cmp.Or(x.Started.Compare(y.Started), cmp.Compare(x.Name, y.Name))
	})
	return list
}

// Sessions lists the instance's sessions, oldest first, without a lock.
func (s *Session) Sessions(ctx context.Context) (list []SessionInfo, err error) {
	err = s.call(ctx, "list sessions", 0, func() error {
		processes, err := s.member.Books.Table.Processes()
		list = sessionInfos(processes, sessionsByRow(s.member.Books, processes))
		return err
	})
	return list, err
}

// holders returns the processes that hold any of the segments: witnesses are asked for in the system, and only those of
// holders are needed.
func holders(segments []control.SegmentInfo, processes []control.ProcessInfo) []control.ProcessInfo {
	holds := map[int]bool{}
	for _, s := range segments {
		for _, row := range s.Holders {
			holds[row] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(processes), func(p control.ProcessInfo) bool { return !holds[p.Row] })
}

// at returns what the system says of a process, from memory the second time.
func (g witnessLooks) at(pid int) witnessLook {
	seen, ok := g[pid]
	if !ok {
		seen = witnessLook{liveness.Stopped(pid), liveness.Unseen(pid)}
		g[pid] = seen
	}
	return seen
}

// sessionInfo describes a row of the process table. Held is whether its witness is: the one proof of life. The other
// states are for people, and more than one may apply: dead wins over stopped, stopped over closing.
func (g witnessLooks) sessionInfo(p control.ProcessInfo, held bool) SessionInfo {
	info := SessionInfo{
		Name: shmsync.Peer{Row: p.Row, Incarnation: p.Incarnation}.String(),
		Pid:  p.Pid, Application: p.Application, State: SessionRunning,
		Started: p.Started, Segments: p.Segments, Bytes: p.Bytes, Done: doneOf(p.Done),
	}
	switch {
	case !held:
		info.State = SessionDead
	case g.at(p.Pid).stopped:
		info.State = SessionStopped
	case p.Closing:
		info.State = SessionClosing
	case g.at(p.Pid).unseen:
		info.State = SessionUnseen
	}
	return info
}
