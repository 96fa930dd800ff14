package dsm

import (
	"context"
	"time"

	"github.com/godsm/godsm/control"
	"github.com/godsm/godsm/internal/instance"
	"github.com/google/uuid"
)

// Status is the instance as a whole. A limit of 0 means that there is none. Sizes are in bytes.
type Status struct {
	Dir        string
	Instance   uuid.UUID
	Generation uint64
	Backend    string
	Private    bool
	// Supervisor is the pid of the supervisor, or of the last one.
	Supervisor int
	// Supervised reports that the supervisor lives.
	Supervised bool
	// Left is when the last supervisor left the instance to the next (Supervisor.Leave); else zero.
	Left time.Time
	// Closing reports that the instance is being stopped.
	Closing      bool
	Sessions     int
	MaxProcesses int
	Segments     int
	MaxSegments  int
	// Bytes is what of the segments counts against MaxMemory.
	Bytes     uint64
	MaxMemory uint64
	// Reserved is the size of the reserved region; 0 if there is none. ReservedUsed is what of it segments take, in
	// whole pages.
	Reserved     uint64
	ReservedUsed uint64
	// LockHolder is the process that holds the control lock, a session's or the supervisor's; nil if none does.
	LockHolder *SessionInfo
	Counters   Counters
}

// Status returns the state of the instance as a whole, read without a lock.
func (s *Session) Status(ctx context.Context) (st Status, err error) {
	err = s.call(ctx, "status", 0, func() error {
		processes, err := s.member.Books.Table.Processes()
		if err == nil {
			st, err = statusOf(s.member.Books, processes)
		}
		return err
	})
	return st, err
}

// statusOf reads the instance's counts and limits. An error means that the table is corrupt.
func statusOf(b *instance.Books, processes []control.ProcessInfo) (Status, error) {
	rows, bytes, err := b.Table.Used()
	s := Status{
		Dir: b.Dir.Path, Instance: b.Record.Instance, Generation: b.Record.Generation,
		Backend: b.Record.Backend, Private: b.Record.Private,
		Left: b.Left(), Closing: b.Table.Closing(), MaxProcesses: b.Table.Limits.Processes,
		Segments: rows, MaxSegments: b.Table.Limits.Segments, Bytes: bytes, MaxMemory: b.Table.Limits.Memory,
		Supervisor: b.SupervisorPid(), Supervised: b.Supervised(), Reserved: b.Table.Limits.Reserved,
	}
	if err == nil {
		s.ReservedUsed, err = b.Table.ReservedUsed()
	}
	if err == nil {
		var c control.Counters
		c, err = b.Table.Counters()
		s.Counters = countersOf(c)
	}
	for _, p := range processes {
		if isSession(p) {
			s.Sessions++
		}
	}
	if p, held, herr := b.Table.LockHolder(); herr == nil && held {
		// The holder may have died, or be stopped: its state is what a person wants to know first.
		info := witnessLooks{}.sessionInfo(p, b.Roll.Held(p.Row))
		s.LockHolder = &info
	}
	return s, err
}
