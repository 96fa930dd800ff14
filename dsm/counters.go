package dsm

import (
	"time"

	"github.com/godsm/godsm/control"
)

// Done counts what a session has done since it joined, or all sessions since the generation began.
type Done struct {
	Creates      uint64
	CreatedBytes uint64
	Attaches     uint64 // of segments that another session made
	Detaches     uint64 // references given back, one by one
	LockWaits    uint64 // for the control lock
	LockWaited   time.Duration
	Refused      Refused
}

// Refused counts segments that were refused, by reason.
type Refused struct {
	Segments uint64 // max_segments
	Memory   uint64 // max_memory
	Session  uint64 // max_memory_per_process, max_segments_per_process
	System   uint64 // the system had no memory, or gave another reason
}

// Counters are what was counted in all sessions since the generation began; the next generation begins at 0. They only go up,
// but for what a stray store of another process has hit.
type Counters struct {
	Done
	Returned     uint64 // references that were given back for the dead, or when a session closed
	Joins        uint64
	JoinsRefused uint64 // since the process table was full
	Reclaims     uint64 // processes that died, and whose rights were given back
	ReclaimTime  time.Duration
	LastReclaim  time.Time // zero if there was none
	NotFound     uint64    // attaches of a handle that was not live
	LockRefused  uint64    // waits for the control lock that were given up
	Events       uint64
}

func doneOf(d control.Done) Done {
	return Done{
		Creates: d.Creates, CreatedBytes: d.CreatedBytes, Attaches: d.Attaches, Detaches: d.Detaches,
		LockWaits: d.LockWaits, LockWaited: d.LockWaited, Refused: Refused{
			Segments: d.Refused.Rows, Memory: d.Refused.Memory, Session: d.Refused.Session, System: d.Refused.System,
		},
	}
}

func countersOf(c control.Counters) Counters {
	return Counters{
		Done: doneOf(c.Done), Returned: c.Returned, Joins: c.Joins, JoinsRefused: c.JoinsRefused, Reclaims: c.Reclaims,
		ReclaimTime: c.ReclaimTime, LastReclaim: c.LastReclaim, NotFound: c.NotFound, LockRefused: c.LockRefused,
		Events: c.Events,
	}
}
