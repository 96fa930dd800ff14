package dsm

import (
	"time"

	"github.com/godsm/godsm/control"
)

// Done counts what a session has done since it joined, or all sessions since the generation began.
type Done struct {
	Creates      uint64        `json:"creates"`
	CreatedBytes uint64        `json:"created_bytes"`  // their sizes
	Attaches     uint64        `json:"attaches"`       // of segments that another session made
	Detaches     uint64        `json:"detaches"`       // references given back, one by one
	LockWaits    uint64        `json:"lock_waits"`     // for the control lock
	LockWaited   time.Duration `json:"lock_waited_ns"` // all of these waits together
	Refused      Refused       `json:"refused"`
}

// Refused counts segments that were refused, by reason.
type Refused struct {
	Segments uint64 `json:"segments"` // max_segments
	Memory   uint64 `json:"memory"`   // max_memory
	Session  uint64 `json:"session"`  // max_memory_per_process, max_segments_per_process
	System   uint64 `json:"system"`   // the system had no memory, or gave another reason
}

// Counters are what was counted in all sessions since the generation began; the next generation begins at 0. They only
// go up, but for what a stray store of another process has hit.
type Counters struct {
	Done
	Returned     uint64        `json:"returned"` // references that were given back for dead processes, or when a session closed
	Joins        uint64        `json:"joins"`
	JoinsRefused uint64        `json:"joins_refused"` // since the process table was full
	Reclaims     uint64        `json:"reclaims"`      // processes that died, and whose rights were given back
	ReclaimTime  time.Duration `json:"reclaim_time_ns"`
	LastReclaim  time.Time     `json:"last_reclaim"` // zero if there was none
	NotFound     uint64        `json:"not_found"`    // attaches of a handle that was not live
	LockRefused  uint64        `json:"lock_refused"` // waits for the control lock that were given up
	Events       uint64        `json:"events"`
}

// doneOf returns what the books count, under the names of this package.
func doneOf(d control.Done) Done {
	return Done{
		Creates: d.Creates, CreatedBytes: d.CreatedBytes, Attaches: d.Attaches, Detaches: d.Detaches,
		LockWaits: d.LockWaits, LockWaited: d.LockWaited, Refused: Refused{
			Segments: d.Refused.Rows, Memory: d.Refused.Memory, Session: d.Refused.Session, System: d.Refused.System,
		},
	}
}

// countersOf returns what the books count for all sessions, under the names of this package.
func countersOf(c control.Counters) Counters {
	return Counters{
		Done: doneOf(c.Done), Returned: c.Returned, Joins: c.Joins, JoinsRefused: c.JoinsRefused, Reclaims: c.Reclaims,
		ReclaimTime: c.ReclaimTime, LastReclaim: c.LastReclaim, NotFound: c.NotFound, LockRefused: c.LockRefused,
		Events: c.Events,
	}
}
