package dsm

import (
	"bytes"
	"context"
	"slices"
	"syscall"
	"time"

	"github.com/godsm/godsm/control"
	"github.com/godsm/godsm/dsmimpl"
	"github.com/godsm/godsm/internal/fault"
	"github.com/godsm/godsm/internal/instance"
	"github.com/godsm/godsm/internal/liveness"
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
	Supervisor   int  // its pid, or that of the last one
	Supervised   bool // it lives
	Closing      bool // it is being stopped
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
	Pid         int // as the process sees itself: in another pid namespace it is another number
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

// Peek returns a copy of a segment's bytes, as Inspect looks at an instance: it joins nothing, takes no reference and no
// lock. What is stored meanwhile may be in the copy or not. A handle that is not live is ErrNotFound.
func Peek(ctx context.Context, cfg Config, h Handle) (b []byte, err error) {
	b, err = peek(ctx, cfg, h)
	return b, fail("peek", h, "", err)
}

func peek(ctx context.Context, cfg Config, h Handle) (b []byte, err error) {
	path, backends, set, err := cfg.resolve()
	if err != nil {
		return nil, err
	}
	dir, err := instance.OpenDir(path)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	books, err := dir.Look(ctx, backends, set)
	if err != nil {
		return nil, err
	}
	defer books.Close()
	b, err = copyOf(ctx, books, func(s control.SegmentInfo) bool { return Handle(s.Handle) == h })
	if err == nil && b == nil {
		err = ErrNotFound
	}
	return b, err
}

// rootOf copies the root segment's bytes; if it can't be had it is none.
func rootOf(ctx context.Context, b *instance.Books) []byte {
	root, err := copyOf(ctx, b, func(s control.SegmentInfo) bool { return s.Root })
	if err != nil {
		return nil
	}
	return root
}

// copyOf copies the bytes of the segment that is the one, without a reference to it; nil if there is none.
func copyOf(ctx context.Context, b *instance.Books, is func(control.SegmentInfo) bool) (part []byte, err error) {
	segments, err := b.Segments()
	if err != nil {
		return nil, err
	}
	for _, s := range segments {
		if !s.Sound || !is(s) {
			continue
		}
		m, err := b.Map(ctx, s.Entry, dsmimpl.ReadOnly)
		if err != nil {
			return nil, err
		}
		defer func() { _ = b.Unmap(m) }()
		err = fault.Contain(func() error { part = bytes.Clone(instance.Part(m, &s.Entry)); return nil })
		if err != nil {
			return nil, err
		}
		return part, nil
	}
	return nil, nil
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
	for _, p := range processes {
		if isSession(p) {
			list = append(list, sessionInfo(b, p))
		}
	}
	slices.SortFunc(list, func(x, y SessionInfo) int { return x.Started.Compare(y.Started) })
	return list
}

func segmentInfos(b *instance.Books, processes []control.ProcessInfo) (list []SegmentInfo, err error) {
	segments, err := b.Segments()
	if err != nil {
		return nil, err
	}
	byRow := map[int]SessionInfo{}
	for _, p := range processes {
		byRow[p.Row] = sessionInfo(b, p)
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
		Closing: b.Closing(), MaxProcesses: b.Limits.Processes,
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
		info := sessionInfo(b, p)
		s.LockHolder = &info
	}
	return s, err
}

func sessionInfo(b *instance.Books, p control.ProcessInfo) SessionInfo {
	info := SessionInfo{
		Pid: p.Pid, Application: p.Application, State: "running",
		Started: p.Started, Segments: p.Segments, Bytes: p.Bytes,
	}
	switch {
	case !b.Roll.Held(p.Row):
		info.State = "dead"
	case liveness.Stopped(p.Pid):
		info.State = "stopped"
	case p.Closing:
		info.State = "closing"
	case liveness.Unseen(p.Pid):
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
