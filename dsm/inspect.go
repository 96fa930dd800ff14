package dsm

import (
	"bytes"
	"context"
	"runtime/debug"
	"slices"
	"syscall"
	"time"

	"github.com/godsm/godsm/control"
	"github.com/godsm/godsm/dsmimpl"
	"github.com/godsm/godsm/internal/instance"
	"github.com/godsm/godsm/internal/liveness"
	"github.com/godsm/godsm/shm/shmsync"
	"github.com/google/uuid"
)

// Report is an instance at one moment, as far as there is such a thing: it is read without a lock beside those who
// change it.
type Report struct {
	Status   Status
	Sessions []SessionInfo
	Segments []SegmentInfo
	Root     []byte // a copy of the root segment's bytes, of Inspect only; nil if there is none
}

// Status is the instance as a whole. Limits of 0 are none.
type Status struct {
	Dir          string
	Instance     uuid.UUID
	Generation   uint64
	Backend      string
	Private      bool
	Supervisor   int       // its pid, or that of the last one
	Supervised   bool      // it lives
	Left         time.Time // when the last supervisor left it to the next (Supervisor.Leave); else zero
	Closing      bool      // it is being stopped
	Sessions     int
	MaxProcesses int
	Segments     int
	MaxSegments  int
	Bytes        uint64
	MaxMemory    uint64
	Reserved     uint64       // bytes of the region that segments are carved out of; 0 if there is none
	ReservedUsed uint64       // of them, those of segments, in whole pages
	LockHolder   *SessionInfo // who holds the control lock; nil if nobody does
}

// SessionInfo is one session. The supervisor is none.
type SessionInfo struct {
	Name        string // row and incarnation, as errors have it: shmsync.Peer
	Pid         int    // as the process sees itself: in another pid namespace it is another number
	Application string
	// State is running, stopped, closing (closed, and bytes are still lent), dead (not yet reclaimed), or unseen: it holds
	// its place, and no process here has its pid. It is in another pid namespace, or it is dead and a child that it forked
	// holds the place.
	State    string
	Started  time.Time
	Segments int // held
	Bytes    uint64
}

// SegmentInfo is one segment.
type SegmentInfo struct {
	Handle     Handle
	Size       int
	State      string // creating, live, destroying; corrupt
	Refs       int    // sessions that hold it, and one more if it is pinned
	Pinned     bool
	Root       bool // Session.Root
	Holders    []SessionInfo
	Backend    string
	Reserved   bool      // carved out of the reserved region
	OSName     string    // what a person would look for in the system
	CreatorPid int       // as it saw itself
	Creator    string    // application
	Created    time.Time // of a reserved one, to a second
	Failed     error     // why it could not be removed; nil if that was not tried or did not fail
	Changed    bool      // while it was read: its parts may not belong together
}

// Inspect looks at the instance that runs in cfg.Dir from outside: it joins nothing and takes no lock, so it works
// beside a full process table and a stopped holder of the lock.
func Inspect(ctx context.Context, cfg Config) (Report, error) {
	r, err := inspect(ctx, cfg)
	return r, fail("inspect", 0, "", err)
}

func inspect(ctx context.Context, cfg Config) (Report, error) {
	path, backends, set, err := cfg.resolve()
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
		r.Root = rootOf(ctx, books)
	}
	return r, err
}

// rootOf copies the root segment's bytes, without a reference to it: if it can't be had it is none.
func rootOf(ctx context.Context, b *instance.Books) (root []byte) {
	segments, err := b.Segments()
	if err != nil {
		return nil
	}
	for _, s := range segments {
		if !s.Root || !s.Sound {
			continue
		}
		m, err := b.Map(ctx, s.Entry, dsmimpl.ReadOnly)
		if err != nil {
			return nil
		}
		defer func() { _ = b.Unmap(m) }()
		defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
		defer func() {
			if recover() != nil { // somebody has truncated it
				root = nil
			}
		}()
		return bytes.Clone(instance.Part(m, &s.Entry))
	}
	return nil
}

// Segments lists the instance's segments, oldest first.
func (s *Session) Segments(ctx context.Context) (list []SegmentInfo, err error) {
	err = s.call(ctx, "list segments", 0, func() error {
		processes, err := s.member.Books.Processes()
		if err == nil {
			list, err = segmentInfos(s.member.Books, processes)
		}
		return err
	})
	return list, err
}

// Sessions lists the instance's sessions, oldest first.
func (s *Session) Sessions(ctx context.Context) (list []SessionInfo, err error) {
	err = s.call(ctx, "list sessions", 0, func() error {
		processes, err := s.member.Books.Processes()
		list = sessionInfos(s.member.Books, processes)
		return err
	})
	return list, err
}

// Status is the instance as a whole.
func (s *Session) Status(ctx context.Context) (st Status, err error) {
	err = s.call(ctx, "status", 0, func() error {
		processes, err := s.member.Books.Processes()
		if err == nil {
			st, err = status(s.member.Books, processes)
		}
		return err
	})
	return st, err
}

func report(b *instance.Books) (r Report, err error) {
	processes, err := b.Processes()
	if err != nil {
		return r, err
	}
	r.Sessions = sessionInfos(b, processes)
	if r.Segments, err = segmentInfos(b, processes); err != nil {
		return r, err
	}
	r.Status, err = status(b, processes)
	return r, err
}

func isSession(p control.ProcessInfo) bool { return p.Row != control.SupervisorRow }

func sessionInfos(b *instance.Books, processes []control.ProcessInfo) (list []SessionInfo) {
	processes = slices.DeleteFunc(slices.Clone(processes), func(p control.ProcessInfo) bool { return !isSession(p) })
	held, seen := b.Held(processes), glances{}
	for i, p := range processes {
		list = append(list, seen.sessionInfo(p, held[i]))
	}
	slices.SortFunc(list, func(x, y SessionInfo) int { return x.Started.Compare(y.Started) })
	return list
}

func segmentInfos(b *instance.Books, processes []control.ProcessInfo) (list []SegmentInfo, err error) {
	segments, err := b.Segments()
	if err != nil {
		return nil, err
	}
	holds := map[int]bool{}
	for _, s := range segments {
		for _, row := range s.Holders {
			holds[row] = true
		}
	}
	processes = slices.DeleteFunc(slices.Clone(processes), func(p control.ProcessInfo) bool { return !holds[p.Row] })
	held, seen := b.Held(processes), glances{}
	byRow := map[int]SessionInfo{}
	for i, p := range processes {
		byRow[p.Row] = seen.sessionInfo(p, held[i])
	}
	for _, s := range segments {
		list = append(list, segmentInfo(b, s, byRow))
	}
	slices.SortFunc(list, func(x, y SegmentInfo) int { return x.Created.Compare(y.Created) })
	return list, nil
}

func status(b *instance.Books, processes []control.ProcessInfo) (Status, error) {
	rows, bytes, err := b.Used()
	s := Status{
		Dir: b.Dir.Path, Instance: b.Record.Instance, Generation: b.Record.Generation,
		Backend: b.Record.Backend, Private: b.Record.Private,
		Left: b.Left(), Closing: b.Closing(), MaxProcesses: b.Limits.Processes,
		Segments: rows, MaxSegments: b.Limits.Segments, Bytes: bytes, MaxMemory: b.Limits.Memory,
		Supervisor: b.SupervisorPid(), Supervised: b.Supervised(), Reserved: b.Limits.Reserved,
	}
	if err == nil {
		s.ReservedUsed, err = b.ReservedUsed()
	}
	for _, p := range processes {
		if isSession(p) {
			s.Sessions++
		}
	}
	if p, held, herr := b.LockHolder(); herr == nil && held {
		info := glances{}.sessionInfo(p, b.Roll.Held(p.Row))
		s.LockHolder = &info
	}
	return s, err
}

// glances is what the system says of processes, each asked for once: a process may have many sessions.
type glances map[int]glance

type glance struct{ stopped, unseen bool }

func (g glances) at(pid int) glance {
	seen, ok := g[pid]
	if !ok {
		seen = glance{liveness.Stopped(pid), liveness.Unseen(pid)}
		g[pid] = seen
	}
	return seen
}

func (g glances) sessionInfo(p control.ProcessInfo, held bool) SessionInfo {
	info := SessionInfo{
		Name: shmsync.Peer{Row: p.Row, Incarnation: p.Incarnation}.String(),
		Pid:  p.Pid, Application: p.Application, State: "running",
		Started: p.Started, Segments: p.Segments, Bytes: p.Bytes,
	}
	switch {
	case !held:
		info.State = "dead"
	case g.at(p.Pid).stopped:
		info.State = "stopped"
	case p.Closing:
		info.State = "closing"
	case g.at(p.Pid).unseen:
		info.State = "unseen"
	}
	return info
}

func segmentInfo(b *instance.Books, s control.SegmentInfo, sessions map[int]SessionInfo) SegmentInfo {
	info := SegmentInfo{
		Handle: Handle(s.Handle), Size: s.Size, State: s.State.String(),
		Refs: len(s.Holders), Pinned: s.Pinned, Root: s.Root,
		Backend: b.Record.Backend, OSName: b.Where(s.Entry),
		CreatorPid: s.CreatorPid, Creator: s.Creator, Created: s.Created, Changed: s.Changed,
	}
	_, info.Reserved = s.Carved()
	if !s.Sound {
		info.State = "corrupt"
	}
	if s.Pinned {
		info.Refs++
	}
	if s.Errno != 0 {
		info.Failed = syscall.Errno(s.Errno)
	}
	for _, row := range s.Holders {
		info.Holders = append(info.Holders, sessions[row])
	}
	return info
}
