// Package dsm gives a process access to shared memory segments: it opens a Session of an instance, creates segments,
// passes their handles to other processes by any means, and attaches those whose handles it was given.
//
//	s, err := dsm.Open(ctx, dsm.Config{})
//	defer s.Close()
//	seg, err := s.Create(ctx, s.Owner(), 1<<20)
//	copy(seg.Bytes(), "hello")
//	fmt.Println(seg.Handle()) // another process: s.Attach(ctx, s.Owner(), handle)
//
// New makes a segment for one Go value and returns a pointer to it; AttachAs attaches that one, and checks that it holds
// such a value. Session.CreateFrom fills a segment from a file or another reader.
//
// A segment lives as long as it is held: by a session that has it attached, or by the instance, with a pin. What a
// process holds is given back when the owner it was created under ends, when the session closes, and when the process
// dies, however it dies. It is given back never later than that, what others hold is left alone, and nothing remains in
// the system.
//
// An instance is made by package supervisor, or by the command dsmctl supervise.
//
// # What this package does not do
//
// It puts no structure into a segment's bytes and does not order accesses to them: that is for package shm and what
// stands on it. It does not restore what a dead process left half-written.
//
// # Errors
//
// A failure of this package is an *Error: what was being done, to which segment, by which backend, and why it failed.
// Its kind is one of the variables ErrNotFound, ErrQuota and so on, which errors.Is matches; the text says what to do.
// Where memory is short, ErrNoMemory matches all kinds in which others have to give memory back. After ErrStale a
// program opens another session, and attaches or creates its segments anew.
//
// A full table, and a limit that is reached, are errors only after the session has reclaimed what dead processes held.
// A call that fails leaves nothing that outlives the session.
//
// # Late uses
//
// A slice that is used after the Detach of its segment is a defect that the language can't rule out. Segment.Bytes
// lists what such a use does. With the setting checked = on each Segment has a mapping of its own, every late use is a
// fault, and errors name the lines that attached and detached the segment; it costs a mapping for each Attach, and is
// meant for tests. Segment.With and Session.Contain make an error of a fault.
//
// # Concurrency
//
// All exported methods of Session and Segment are safe for concurrent use. Methods with a context may wait: for the
// control lock, for the system, or for another goroutine that attaches or detaches the same segment.
//
// Locks are taken in this order: Session.viewing, Session.mu, attachment.mu, then a resowner.Owner's own.
// Session.hearing.mu is taken under none of them. No hook, and no function that a view, an owner or With was given, is
// called under any. A function whose name ends in Locked is called under the lock that its comment names, and neither
// takes nor releases it, except where a comment says that it waits.
//
// # Deaths
//
// A process may die between any two instructions. The order in which the books and the system change, and which process
// finishes what a death between two steps leaves, is in internal/instance (object.go). This package adds what one
// process knows: which Segments share a mapping, which calls are in flight, which functions are to be called. All of
// that is ordinary memory, and dies with the process.
package dsm

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/godsm/godsm/dsmimpl"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/instance"
	"github.com/godsm/godsm/internal/waits"
	"github.com/godsm/godsm/resowner"
	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/shmsync"
	"github.com/rs/zerolog"
)

// Session is this process's membership of an instance. All methods are safe for concurrent use. A process may have
// several, of the same instance too; each counts for itself.
//
// It lasts until Close, or until the instance stops or begins a new generation: Done is closed then, and calls return
// ErrStale. Such a session is still to be closed. The zero Session was never opened: its calls return ErrClosed.
type Session struct {
	config Config
	// member is the session's row, and the books as this process has them mapped. It is nil for a session that was not
	// opened, and never changes.
	member   *instance.Member
	backends instance.Backends
	owner    *resowner.Owner
	checked  bool
	// clock holds some Unix time in ns that is not more than a second old. The watcher stores it, and Create stamps
	// segments with it: reading the system's clock would cost as much as the control lock.
	clock atomic.Int64
	log   zerolog.Logger
	// done is closed when err is set.
	done    chan struct{}
	unwatch context.CancelFunc
	// watched is closed when the watcher's goroutine has ended, gone when Close has returned or its goroutine has
	// ended.
	watched chan struct{}
	gone    chan struct{}

	mu sync.Mutex
	// Below this line all is under mu. Close waits on idle until calls is 0; a goroutine that brings it there, or that
	// parks an attachment for Close, broadcasts.
	idle *sync.Cond
	// calls counts the calls in flight that use the books. While it is above 0 the session keeps its row, and the books
	// stay mapped.
	calls int
	// err is why the session has ended; nil while it is open.
	err   error
	state sessionState
	// closer is the goroutine that Close runs in, so that a hook which calls Close is found out.
	closer uint64
	// aborting is set when Close ends the owners.
	aborting atomic.Bool
	// lost are the errors of a Detach whose goroutine has ended, for Close.
	lost error
	// closeErr is Close's error, if the goroutine of Close has ended.
	closeErr error
	// table finds the holdings. The spare ones are used again, since the garbage collector's work would cost more.
	table            handleTable
	spareHoldings    *holding
	spareAttachments *attachment
	// attachments lists those whose bytes are still in use, the newest first.
	attachments *attachment
	// root is what Root has found; nil before.
	root *Segment

	// view ends when the session is closed. The views of Segments are made of it, so none outlives the session.
	view *shm.View
	// viewing makes the views of Segments one by one, since each takes a mapping. It is taken before mu.
	viewing sync.Mutex

	// regionSwapped is set when of the reserved region only what is lent is left.
	regionSwapped bool
	// regionRefused is set when, besides, there is what the system refused to swap.
	regionRefused atomic.Bool

	// mailbox is where other sessions ring for this one; waits are those for which its goroutines wait, so that the
	// watcher asks whether they live.
	mailbox *shmsync.Mailbox
	waits   *waits.Waits
	hearing hearing
}

// Open joins the instance that runs in cfg.Dir. If none runs the error is ErrNoInstance; one that is being started, or
// restarted, is waited for, up to five seconds. A full process table is ErrTooManyProcesses, after dead sessions have
// been reclaimed. An instance of a program with another layout is ErrVersion. If ctx is over, the error is its cause.
//
// The session takes a row of the process table, a goroutine, and a mapping of the control segment. Close gives them
// back.
func Open(ctx context.Context, cfg Config) (*Session, error) {
	s, err := open(ctx, cfg)
	return s, wrapErr("open", 0, "", err)
}

// open does what Open does, without the Error around the error. A process that dies in it leaves at most a row in the
// process table, which the next reclaim frees.
func open(ctx context.Context, cfg Config) (*Session, error) {
	if err := errIfOver(ctx); err != nil {
		return nil, err
	}
	path, backends, set, err := cfg.resolve()
	if err != nil {
		return nil, err
	}
	dir, err := instance.OpenDir(path)
	if err != nil {
		return nil, err
	}
	member, err := dir.Connect(ctx, backends, set, instance.Who(cfg.Application), cfg.Logger)
	if err != nil {
		dir.Close()
		return nil, err
	}
	cfg.Dir = dir.Path
	s := &Session{
		config: cfg, member: member, backends: backends, checked: set.Checked, log: cfg.Logger,
		owner: resowner.New("session", cfg.Logger),
		view:  shm.NewView(nil),
		done:  make(chan struct{}), watched: make(chan struct{}), gone: make(chan struct{}),
	}
	s.view.Report(s.logLateCloseErr)
	s.idle = sync.NewCond(&s.mu)
	s.clock.Store(time.Now().UnixNano())
	s.openMailbox()
	// The session ends the mapping of the region itself: late uses of its bytes are possible for longer than the books
	// last.
	member.Books.KeepRegion()
	if member.Books.RegionErr != nil {
		s.log.Warn().Err(member.Books.RegionErr).Str("event", "region-unmapped").Msg("the reserved region can't be mapped; what is in it can't be attached")
	}
	// Without a backend that can swap pages, what is used late would reach the next segment in the region. So none is
	// made there.
	member.Carves = member.Books.Region.Bytes != nil && s.canReplaceRange()
	watching, unwatch := context.WithCancel(context.Background())
	s.unwatch = unwatch
	go s.watch(watching)
	return s, nil
}

var errUnopened = fmt.Errorf("%w: this Session was not opened", ErrClosed)

// backend returns the backend's name, for errors; it is empty for a session that was not opened.
func (s *Session) backend() string {
	if s.member == nil {
		return ""
	}
	return s.member.Books.Backend.Name()
}

// Config returns what the session was opened with, its directory filled in. It serves to open another session of the
// same instance.
func (s *Session) Config() Config { return s.config }

// Owner returns the session's own owner, which ends with the session: a segment created under it has the session's
// lifetime. To end it earlier ends what it owns, and not the session.
func (s *Session) Owner() *resowner.Owner { return s.owner }

// Done returns a channel that is closed when the session ends: by Close, because the supervisor stops, or because a
// later generation has begun. Err then returns which of them it was.
func (s *Session) Done() <-chan struct{} { return s.done }

// Err returns why the session has ended: ErrClosed after Close, ErrStale if the instance stopped or a later generation
// has begun. It returns nil while the session is open, and ErrClosed for a zero Session.
func (s *Session) Err() error {
	if s.member == nil {
		return errUnopened
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Self returns this session as the structures of package shm know it: its name among its peers, a function that reports
// which of them are alive, and the view that ends with the session. After Close, Alive reports true for every peer. The
// zero Session's view has ended.
func (s *Session) Self() shmsync.Self {
	if s.member == nil {
		return shmsync.Self{View: ended, Alive: func(shmsync.Peer) bool { return true }}
	}
	self := s.member.Self
	return shmsync.Self{
		Peer: shmsync.Peer{Row: self.Row(), Incarnation: self.Incarnation()}, Alive: s.alive, View: s.view,
		Mailbox: s.mailbox, Waits: s.waits, Who: s.peerText, Ask: s.ask, OnAsk: s.onAsk, OnDeath: s.onDeath,
		Checked: s.checked,
	}
}

// endLocked closes Done and sets what Err returns; the first reason stays. The caller holds Session.mu.
func (s *Session) endLocked(why error) {
	if s.err == nil {
		s.err = why
		close(s.done)
	}
}

// endedLocked returns why no call may begin, nil if one may. The caller holds Session.mu.
func (s *Session) endedLocked() error {
	if s.member == nil {
		return errUnopened
	}
	if s.err == nil && s.member.Books.Table.Closing() {
		return ErrStale
	}
	return s.err
}

// endIfAllReturned ends the session when the last bytes that it had lent are given back.
func (s *Session) endIfAllReturned() error {
	// A death here leaves the row of a session that says closing, without segments. Reclaim frees it.
	failpoint.Hit("dsm/lease/returned")
	return s.leaveAndUnmap()
}

// unmapControl ends the session's use of the control segment. It is swapped in checked mode too: words in it that
// structures wait on, such as the session's mailbox, are the library's own. Where it can't be swapped the books unmap
// it when no goroutine uses a mailbox any more.
func (s *Session) unmapControl() error {
	b, ok := s.member.Books.Backend.(dsmimpl.Swapper)
	if !ok {
		return nil
	}
	m := s.member.Books.TakeControl()
	if m.Bytes == nil {
		return nil
	}
	if panicAsErr(func() error { return b.Swap(m, 0, len(m.Bytes)) }) != nil {
		return s.member.Books.Unmap(m)
	}
	r := &formerRange{mapping: m, give: b.Unswap}
	s.loosenRange(r)
	return former.add(r, nil)
}
