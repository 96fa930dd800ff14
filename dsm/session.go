// Package dsm is the front door: a process opens a Session of an instance, creates segments, hands their handles
// to other processes by any way at all, and attaches those it was handed.
//
//	s, err := dsm.Open(ctx, dsm.Config{})
//	defer s.Close()
//	seg, err := s.Create(ctx, s.Owner(), 1<<20)
//	copy(seg.Bytes(), "hello")
//	fmt.Println(seg.Handle()) // another process: s.Attach(ctx, s.Owner(), handle)
//
// A segment lives as long as somebody holds it: a session that has it attached, or the instance, by a pin. What a
// process holds is given back when the owner it was created under ends, when the session closes, and when the
// process dies, however it dies; never later than that, never somebody else's, and nothing is left in the system.
//
// An instance is made by package supervisor, or by the command dsmdemo supervise.
//
// Locks are taken in this order: Session.viewing, Session.mu, attachment.mu, then a resowner.Owner's own. A function whose
// name ends in Locked is called under the lock that its comment names, and neither takes nor releases it, but where a
// comment says that it waits.
//
// What this package does not do: put structure into a segment's bytes, order accesses to them (that is for
// package shm and what stands on it), or restore what a dead process left half-written.
package dsm

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/godsm/godsm/internal/instance"
	"github.com/godsm/godsm/internal/waits"
	"github.com/godsm/godsm/resowner"
	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/shmsync"
	"github.com/rs/zerolog"
)

// Session is this process's membership of an instance. All methods are safe for concurrent use. A process may have
// several, of the same instance too; each counts for itself.
type Session struct {
	config   Config
	member   *instance.Member
	backends instance.Backends
	owner    *resowner.Owner
	checked  bool
	clock    atomic.Int64 // some Unix time in ns, not more than a second ago
	log      zerolog.Logger
	done     chan struct{} // closed with err
	unwatch  context.CancelFunc
	watched  chan struct{} // closed when the watching goroutine has ended
	gone     chan struct{} // closed when Close is through

	mu               sync.Mutex
	idle             *sync.Cond // calls went to 0
	calls            int        // that use the books
	err              error      // why the session has ended; nil while it is open
	state            sessionState
	closer           uint64      // the goroutine that Close runs in
	aborting         atomic.Bool // Close ends the owners
	lost             error       // what hooks that ended their goroutine kept from being returned
	closeErr         error       // Close's error, if its goroutine has ended
	table            table
	spareHoldings    *holding    // lists of those that can be
	spareAttachments *attachment // used again
	attachments      *attachment // a list of those whose bytes are still in use
	root             *Segment    // what Root has found

	view    *shm.View  // ends when the session is closed; those of Segments are made of it
	viewing sync.Mutex // makes views of Segments one by one; before mu

	regionSwapped bool        // of the reserved region only what is lent is left
	regionRefused atomic.Bool // or, besides, what could not be swapped

	mailbox *shmsync.Mailbox
	waits   *waits.Waits
	hearing hearing
}

// Open joins the instance that runs in cfg.Dir. If none does it is ErrNoInstance; one that is being started
// is waited for, for a few seconds. If ctx is over, the error is its cause. A full process table is ErrTooManyProcesses.
func Open(ctx context.Context, cfg Config) (*Session, error) {
	s, err := open(ctx, cfg)
	return s, fail("open", 0, "", err)
}

func open(ctx context.Context, cfg Config) (*Session, error) {
	if err := over(ctx); err != nil {
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
	s.view.Report(s.heard)
	s.idle = sync.NewCond(&s.mu)
	s.clock.Store(time.Now().UnixNano())
	s.openMail()
	member.KeepRegion() // late uses of its bytes are possible for longer
	if member.RegionErr != nil {
		s.log.Warn().Err(member.RegionErr).Msg("the reserved region can't be mapped; what is in it can't be attached")
	}
	member.Carves = member.Region.Bytes != nil && s.replaces() // else what is used late would reach the next segment there
	watching, unwatch := context.WithCancel(context.Background())
	s.unwatch = unwatch
	go s.watch(watching)
	return s, nil
}

var errUnopened = fmt.Errorf("%w: this Session was not opened", ErrClosed)

// backend is the backend's name, for errors.
func (s *Session) backend() string {
	if s.member == nil {
		return ""
	}
	return s.member.Backend.Name()
}

// Config is what the session was opened with, its directory filled in: for another session of the same instance.
func (s *Session) Config() Config { return s.config }

// Owner is the session's own owner, which ends with the session: naming it means session lifetime.
func (s *Session) Owner() *resowner.Owner { return s.owner }

// Done is closed when the session ends: by Close, because the supervisor stops, or because a later generation has
// begun.
func (s *Session) Done() <-chan struct{} { return s.done }

// Err says why the session has ended: ErrClosed, ErrStale; nil while it is open. A zero Session's is ErrClosed.
func (s *Session) Err() error {
	if s.member == nil {
		return errUnopened
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Self is this session as the structures of package shm know it: its name among its peers, who of them is
// alive, and the view that ends with the session. After Close every peer seems to be alive. The zero Session's view has
// ended.
func (s *Session) Self() shmsync.Self {
	if s.member == nil {
		return shmsync.Self{View: ended, Alive: func(shmsync.Peer) bool { return true }}
	}
	self := s.member.Self
	return shmsync.Self{
		Peer: shmsync.Peer{Row: self.Row(), Incarnation: self.Incarnation()}, Alive: s.alive, View: s.view,
		Mailbox: s.mailbox, Waits: s.waits, Who: s.who, Ask: s.ask, OnAsk: s.onAsk, OnDeath: s.OnDeath,
		Checked: s.checked,
	}
}

func (s *Session) alive(p shmsync.Peer) bool {
	s.mu.Lock()
	if s.state == sessionLeft {
		s.mu.Unlock()
		return true
	}
	s.calls++
	s.mu.Unlock()
	defer s.end()
	return s.member.Self.Alive(p)
}

// Unpin takes the instance's reference to a segment away, whoever took it, attached here or not. A handle that is
// not live, or not pinned, is ErrNotFound. Functions of OnDetach may call it in a session that closes, too.
func (s *Session) Unpin(ctx context.Context, h Handle) error {
	err := s.beginUnless(ctx, func() error {
		if err := s.endedLocked(); err != ErrClosed || s.state == sessionLeft {
			return err
		}
		return nil
	})
	if err == nil {
		err = s.unpin(ctx, h)
		s.end()
	}
	return fail("unpin", h, s.backend(), err)
}

func (s *Session) unpin(ctx context.Context, h Handle) error {
	entry, last, err := s.member.Self.Unpin(ctx, uint64(h))
	if last {
		err = s.member.Destroy(ctx, entry)
	}
	return err
}

// call runs f as one of the calls that Close waits for, unless the session has ended.
func (s *Session) call(ctx context.Context, op string, h Handle, f func() error) error {
	err := s.begin(ctx)
	if err == nil {
		err = f()
		s.end()
	}
	return fail(op, h, s.backend(), err)
}

func (s *Session) begin(ctx context.Context) error { return s.beginUnless(ctx, s.endedLocked) }

// beginUnlessClosed begins a call that may be made in an instance that has ended.
func (s *Session) beginUnlessClosed() error {
	return s.beginUnless(context.Background(), func() error {
		if s.state != sessionOpen {
			return ErrClosed
		}
		return nil
	})
}

// beginUnless begins a call unless whyLocked, which is called under Session.mu, returns why none may begin.
func (s *Session) beginUnless(ctx context.Context, whyLocked func() error) error {
	if err := over(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	err := whyLocked()
	if err == nil {
		s.calls++
	}
	s.mu.Unlock()
	return err
}

// endedLocked returns why no call may begin, nil if one may. The caller holds Session.mu.
func (s *Session) endedLocked() error {
	if s.member == nil {
		return errUnopened
	}
	if s.err == nil && s.member.Closing() {
		return ErrStale
	}
	return s.err
}

// end ends a call. One that took the control lock over from a dead process has that one's segments to remove.
func (s *Session) end() {
	s.settle()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endCallLocked()
}

func (s *Session) settle() {
	if s.member.Self.Owes() {
		_ = s.member.Settle(context.Background()) // what fails is tried again, by the supervisor or at Close
	}
}

// endCallLocked counts a call as over. The caller holds Session.mu.
func (s *Session) endCallLocked() {
	if s.calls--; s.calls == 0 && s.state != sessionOpen {
		s.idle.Broadcast()
	}
}

// waitIdleLocked waits until no call is in flight. The caller holds Session.mu, which the wait releases.
func (s *Session) waitIdleLocked() {
	for s.calls > 0 {
		s.idle.Wait()
	}
}

// endLocked closes Done and sets what Err returns; the first reason stays. The caller holds Session.mu.
func (s *Session) endLocked(why error) {
	if s.err == nil {
		s.err = why
		close(s.done)
	}
}

// watch waits for the end of the instance's life, which the books tell, or, if those are lost, the directory.
func (s *Session) watch(ctx context.Context) {
	defer close(s.watched)
	defer s.waits.End()
	told := false
	for {
		closing, idle, err := s.hear(ctx)
		if idle {
			continue
		}
		_ = s.member.Self.Disavow(context.Background())
		if err := s.member.FollowMembers(); err != nil && !told {
			told = true
			s.log.Warn().Err(err).Msg("the session's row can't be taken in the members file that comes in another's place")
		}
		shmsync.Disavow()
		s.clock.Store(max(s.clock.Load(), time.Now().UnixNano()))
		s.mu.Lock()
		if s.err == nil && (closing || err != nil || s.member.Dir.Stale(s.member.Record)) {
			s.endLocked(ErrStale)
		}
		over := s.err != nil
		s.mu.Unlock()
		if over {
			return
		}
	}
}

func (s *Session) stopWatching() {
	s.unwatch()
	for {
		select {
		case <-s.watched:
			return
		case <-time.After(time.Millisecond):
			s.member.Self.Nudge() // where the end of a context is not heard
		}
	}
}
