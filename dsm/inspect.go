package dsm

import (
	"bytes"
	"cmp"
	"context"
	"runtime/debug"
	"slices"
	"syscall"
	"time"

	"github.com/godsm/godsm/control"
	"github.com/godsm/godsm/dsmimpl"
	"github.com/godsm/godsm/internal/instance"
	"github.com/godsm/godsm/internal/sys/liveness"
	"github.com/godsm/godsm/shm/shmsync"
	"github.com/google/uuid"
)

// What people and monitors see of an instance. All of it is read without a lock and without changing anything, so that
// it works when the instance does not; the price is that two parts of a report may be of different moments.

// Report is an instance at one moment, as far as there is such a thing: it is read without a lock, while others change
// it. Each row is read as a whole or marked as Changed; two rows may be of different moments.
type Report struct {
	Status   Status
	Sessions []SessionInfo
	Segments []SegmentInfo
	// Root is a copy of the root segment's bytes, of Inspect and Look only; nil if there is none.
	Root []byte
}

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

// SegmentInfo describes a segment.
type SegmentInfo struct {
	Handle Handle
	Size   int
	State  SegmentState
	// Refs is the number of sessions that hold the segment, and one more if it is pinned.
	Refs   int
	Pinned bool
	// Root reports that the segment is that of Session.Root.
	Root    bool
	Holders []SessionInfo
	Backend string
	// Reserved reports that the segment lies in the reserved region.
	Reserved bool
	// OSName is the name under which a person finds the object in the system.
	OSName string
	// CreatorPid is the creating process as it saw itself, Creator its application.
	CreatorPid int
	Creator    string // application
	// Created is exact to a second for a segment in the reserved region.
	Created time.Time
	// Failed is why the segment could not be removed; nil if that was not tried or did not fail.
	Failed error
	// Changed reports that the row changed while it was read: its parts may not belong together.
	Changed bool
}

// Inspect reads a report of the instance that runs in cfg.Dir from outside: it joins nothing and takes no lock. So it
// works with a full process table, and while a stopped process holds the control lock. Without an instance it is
// ErrNoInstance.
func Inspect(ctx context.Context, cfg Config) (Report, error) {
	r, err := inspect(ctx, cfg)
	return r, wrapErr("inspect", 0, "", err)
}

// inspect does what Inspect does, without the Error around the error.
func inspect(ctx context.Context, cfg Config) (Report, error) {
	path, backends, set, err := cfg.resolveToLook()
	if err != nil {
		return Report{}, err
	}
	dir, err := instance.OpenDir(path)
	if err != nil {
		return Report{}, err
	}
	defer dir.Close()
	books, err := dir.Look(ctx, backends, set)
	if err != nil {
		return Report{}, err
	}
	defer books.Close()
	r, err := report(books)
	if err == nil {
		r.Root = rootOf(ctx, books, r.Segments)
	}
	return r, err
}

// rootOf copies the bytes of the root segment, which is one of list, without a reference to it. It returns nil if
// there is none, and if its bytes can't be mapped or are gone while it copies.
func rootOf(ctx context.Context, b *instance.Books, list []SegmentInfo) (root []byte) {
	at := slices.IndexFunc(list, func(s SegmentInfo) bool { return s.Root })
	if at < 0 {
		return nil
	}
	// The list is a moment old: the row is read again, and may have become another segment's.
	s, err := b.Table.Segment(uint64(list[at].Handle))
	if err != nil || !s.Root || !s.Sound {
		return nil
	}
	m, err := b.Map(ctx, s.Entry, dsmimpl.ReadOnly)
	if err != nil {
		return nil
	}
	defer func() { _ = b.Unmap(m) }()
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		// Another process has truncated the object.
		if recover() != nil {
			root = nil
		}
	}()
	return bytes.Clone(instance.Part(m, &s.Entry))
}

// Segments lists the instance's segments, oldest first. It takes no lock: what changes at the same time may be missing,
// or marked as Changed.
func (s *Session) Segments(ctx context.Context) (list []SegmentInfo, err error) {
	err = s.call(ctx, "list segments", 0, func() error {
		processes, err := s.member.Books.Table.Processes()
		if err == nil {
			var segments []control.SegmentInfo
			if segments, err = s.member.Books.Table.Segments(); err == nil {
				list = segmentInfos(s.member.Books, segments, users(s.member.Books, holders(segments, processes)))
			}
		}
		return err
	})
	return list, err
}

// Sessions lists the instance's sessions, oldest first, without a lock.
func (s *Session) Sessions(ctx context.Context) (list []SessionInfo, err error) {
	err = s.call(ctx, "list sessions", 0, func() error {
		processes, err := s.member.Books.Table.Processes()
		list = sessionInfos(processes, users(s.member.Books, processes))
		return err
	})
	return list, err
}

// Status returns the state of the instance as a whole, read without a lock.
func (s *Session) Status(ctx context.Context) (st Status, err error) {
	err = s.call(ctx, "status", 0, func() error {
		processes, err := s.member.Books.Table.Processes()
		if err == nil {
			st, err = status(s.member.Books, processes)
		}
		return err
	})
	return st, err
}

// report reads all parts of a Report but the root.
func report(b *instance.Books) (r Report, err error) {
	processes, err := b.Table.Processes()
	if err != nil {
		return r, err
	}
	byRow := users(b, processes)
	r.Sessions = sessionInfos(processes, byRow)
	segments, err := b.Table.Segments()
	if err != nil {
		return r, err
	}
	r.Segments = segmentInfos(b, segments, byRow)
	r.Status, err = status(b, processes)
	return r, err
}

// isSession reports whether a row of the process table is a session's: one is the supervisor's.
func isSession(p control.ProcessInfo) bool { return p.Row != control.SupervisorRow }

// users returns what is known of the users of process rows, by row: each is asked for once.
func users(b *instance.Books, processes []control.ProcessInfo) map[int]SessionInfo {
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

// segmentInfos describes all segments, oldest first, with their holders. It puts them in order before it describes
// them, for a description is large.
func segmentInfos(b *instance.Books, segments []control.SegmentInfo, byRow map[int]SessionInfo) (list []SegmentInfo) {
	if len(segments) == 0 {
		return nil
	}
	type place struct{ created, at int64 }
	order, references := make([]place, len(segments)), 0
	for i := range segments {
		order[i] = place{segments[i].Created.UnixNano(), int64(i)}
		references += len(segments[i].Holders)
	}
	slices.SortFunc(order, func(x, y place) int { return cmp.Or(cmp.Compare(x.created, y.created), cmp.Compare(x.at, y.at)) })
	list = make([]SegmentInfo, len(segments))
	where, room := b.Places(), make([]SessionInfo, 0, references)
	// The holders of all segments are in one array. Each list ends where the next one begins, so that a caller that
	// appends to one gets another array.
	for k, p := range order {
		s, begin := &segments[p.at], len(room)
		for _, row := range s.Holders {
			room = append(room, byRow[row])
		}
		list[k].describe(b, s, where)
		if end := len(room); end > begin {
			list[k].Holders = room[begin:end:end]
		}
	}
	return list
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

// status reads the instance's counts and limits. An error means that the table is corrupt.
func status(b *instance.Books, processes []control.ProcessInfo) (Status, error) {
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

// glances holds what the system says of processes, each asked for once: a process may have many sessions.
type witnessLooks map[int]witnessLook

// glance is what the system says of one process: that it is stopped, and that no process here has its pid.
type witnessLook struct{ stopped, unseen bool }

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

// describe says what a row of the segment table says, but for the holders. A row whose checksum is wrong is described
// as corrupt.
func (info *SegmentInfo) describe(b *instance.Books, s *control.SegmentInfo, where func(control.Entry) string) {
	*info = SegmentInfo{
		Handle: Handle(s.Handle), Size: s.Size, State: SegmentState(s.State.String()),
		Refs: len(s.Holders), Pinned: s.Pinned, Root: s.Root,
		Backend: b.Record.Backend, OSName: where(s.Entry),
		CreatorPid: s.CreatorPid, Creator: s.Creator, Created: s.Created, Changed: s.Changed,
	}
	_, info.Reserved = s.Carved()
	if !s.Sound {
		info.State = SegmentCorrupt
	}
	if s.Pinned {
		info.Refs++
	}
	if s.Errno != 0 {
		info.Failed = syscall.Errno(s.Errno)
	}
}
