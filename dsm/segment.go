package dsm

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/godsm/godsm/dsmimpl"
	"github.com/godsm/godsm/resowner"
	"github.com/godsm/godsm/shm"
)

// Segment is one attachment of a piece of shared memory. Several in one process may share a mapping; each ends
// for itself. All methods are safe for concurrent use.
type Segment struct {
	handle     Handle
	size       int
	trail      *trail // in checked mode
	attachment *attachment
	life       uint64 // the attachment's, as long as it is this Segment's
	told       *told  // with a view
}

// Create makes a segment of size bytes, all zero, and attaches it; owner ends the attachment. The memory is
// reserved: what the system can't give is ErrNoSpace here. A full table is ErrTooManySegments, a limit ErrQuota,
// and a size below 1 ErrSize; nothing is left behind then. Large segments take time (some 0.3 ms for each MB on
// tmpfs), in which ctx is looked at.
func (s *Session) Create(ctx context.Context, owner *resowner.Owner, size int) (*Segment, error) {
	g, err := s.make(ctx, owner, size)
	if err != nil {
		return nil, fail("create", 0, s.backend(), fmt.Errorf("%d bytes: %w", size, err))
	}
	return g, nil
}

func (s *Session) make(ctx context.Context, owner *resowner.Owner, size int) (*Segment, error) {
	if err := over(ctx); err != nil {
		return nil, err
	}
	s.mu.Lock()
	err := s.err
	if s.member == nil {
		err = errUnopened
	}
	if err == nil {
		err = dsmimpl.CheckSize(size)
	}
	if err == nil {
		err = reserve(owner)
	}
	if err != nil {
		s.mu.Unlock()
		return nil, err
	}
	g, err := s.tryMakeLocked(size, owner)
	if g != nil || err != nil {
		s.mu.Unlock()
		return g.unless(err)
	}
	s.calls++
	s.mu.Unlock()
	h, err := s.create(ctx, size)
	if err != nil {
		s.end()
		return nil, err
	}
	return s.attached(h, owner)
}

// Attach maps the segment with that handle; owner ends the attachment. A handle that is not, or no longer, live is
// ErrNotFound. A second Attach in one process shares the mapping, but in checked mode.
func (s *Session) Attach(ctx context.Context, owner *resowner.Owner, h Handle) (*Segment, error) {
	g, err := s.attach(ctx, owner, h)
	if err != nil {
		return nil, fail("attach", h, s.backend(), err)
	}
	return g, nil
}

func (s *Session) attach(ctx context.Context, owner *resowner.Owner, h Handle) (*Segment, error) {
	if err := over(ctx); owner == nil || err != nil {
		return nil, errors.Join(reserve(owner), err)
	}
	if g, err := s.share(h, owner); g != nil || err != nil {
		return g, err
	}
	if err := s.begin(ctx); err != nil {
		return nil, err
	}
	hold, err := (*holding)(nil), reserve(owner)
	if err == nil {
		hold, err = s.acquire(ctx, h)
	}
	if err != nil {
		s.end()
		return nil, err
	}
	return s.attached(hold, owner)
}

func reserve(owner *resowner.Owner) error {
	if owner == nil {
		return errors.New("no owner: name who ends it, Session.Owner() for the session's lifetime")
	}
	return owner.Reserve()
}

// Handle names the segment for other processes.
func (g *Segment) Handle() Handle { return g.handle }

// Size is the number of bytes that were asked for.
func (g *Segment) Size() int { return g.size }

// Bytes are the segment's, in place. The slice is valid until Detach or the end of the session: it does not keep the
// segment. A fault while it is valid (the object was truncated) ends the process; With and Session.Contain turn it into
// an error. Nil after Detach.
//
// Afterwards: once the session is closed, loads find zeros and stores reach no other process, at least until the process
// has ended 16,384 more mappings (on 32 bits 256 MiB of them). On Windows they are of use until it has ended 64 MiB more,
// and loads may find other bytes than zeros. After the Detach of one Segment that holds only if
// Region was called before; else a late use faults, or reaches what was mapped there next or, in the reserved region, the
// next segment's bytes. In checked mode every late use faults. The fault is an error that names the lines that
// attached and detached inside With, and with shm.Fault in any goroutine that has said debug.SetPanicOnFault(true)
// and recovers. It ends the process elsewhere, in cgo, and while the runtime itself is at work on the bytes; a system
// call that is given them fails with EFAULT.
func (g *Segment) Bytes() []byte {
	a, is := g.lockAttached()
	if !is {
		return nil
	}
	defer a.mu.Unlock()
	return a.bytes
}

// Pin makes the instance hold the segment too: it stays until Unpin or the end of the instance, whoever has it
// attached. Pinning twice is the same as once. Where the system needs somebody to keep the object open, Pin waits
// for the supervisor to do so, and is ErrNoInstance if there is none; if that supervisor dies, a segment that
// nobody has attached is gone.
func (g *Segment) Pin(ctx context.Context) error {
	if g.attachment == nil {
		return g.fail("pin", g.closed())
	}
	s := g.session()
	return s.call(ctx, "pin", g.Handle(), func() error {
		if err := g.gone(); err != nil {
			return err
		}
		_, needsKeeper := s.member.Backend.(dsmimpl.Pinner)
		err := s.member.Self.Pin(ctx, uint64(g.Handle()), needsKeeper)
		if err == nil && needsKeeper {
			err = s.waitKept(ctx, g.Handle(), func(why error) error {
				// Attached here, so never the last.
				_, _, err := s.member.Self.Unpin(context.WithoutCancel(ctx), uint64(g.Handle()))
				return errors.Join(why, err)
			})
		}
		if gone := g.gone(); err != nil && gone != nil { // meanwhile
			return gone
		}
		return err
	})
}

// waitKept waits until the supervisor keeps a segment's object open; undo is for when that will not be.
func (s *Session) waitKept(ctx context.Context, h Handle, undo func(why error) error) error {
	for {
		switch awaits, err := s.member.AwaitsKeeper(uint64(h)); {
		case !awaits || err != nil: // kept, or unpinned by somebody else meanwhile
			return err
		case !s.member.Supervised():
			return undo(fmt.Errorf("%w to keep it", ErrNoInstance))
		}
		select {
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
			return undo(context.Cause(ctx))
		}
	}
}

// Unpin is Session.Unpin of this segment.
func (g *Segment) Unpin(ctx context.Context) error {
	if g.attachment == nil {
		return g.fail("unpin", g.closed())
	}
	return g.session().Unpin(ctx, g.Handle())
}

// MoveTo makes another owner the one that ends the attachment: the session's own for session lifetime, a narrower
// one for less. If the new owner has ended it is ErrClosed, and nothing changes.
func (g *Segment) MoveTo(owner *resowner.Owner) error {
	err := reserve(owner)
	if err == nil {
		err = g.moveTo(owner)
	}
	return g.fail("move", err)
}

func (g *Segment) moveTo(owner *resowner.Owner) error {
	a, is := g.lockAttached()
	if !is {
		return g.closed()
	}
	defer a.mu.Unlock()
	old := a.item.Owner()
	if !a.item.Forget() {
		return ErrClosed // its owner is just ending it
	}
	err := owner.Remember(&a.item, (*owned)(g), 2)
	if err != nil && old.Remember(&a.item, (*owned)(g), 2) != nil {
		go g.Detach() // both have ended meanwhile
	}
	return err
}

// Detach ends the attachment: the view of Region ends, hooks run, the bytes go if no other Segment here shares them, and
// the segment goes if nothing else holds it. It waits neither for a With that is still running nor for structures that
// hold a lease of the view: those keep the bytes until the last one is through. Detaching twice is harmless.
func (g *Segment) Detach() error {
	a, is := g.lockAttached()
	if !is {
		return nil
	}
	a.detached = true
	if g.trail != nil {
		g.trail.detached = here()
	}
	a.item.Forget()
	if a.hooks != nil || a.view != nil {
		v := a.view
		if v != nil && a.leases > 0 {
			a.lent, _ = v.Hold() // what they hold in the bytes is not given to others before they return
		}
		a.mu.Unlock()
		return g.detachViewed(a, v)
	}
	a.unhooked = true
	last := a.lastUseLocked()
	a.mu.Unlock()
	if !last {
		return nil
	}
	if err := a.session.release(a); err != nil {
		return g.fail("detach", err)
	}
	return nil
}

// detachViewed is the rest of Detach for a Segment that has hooks or a view. It comes to its end also if a hook
// or a function of the view ends the goroutine.
func (g *Segment) detachViewed(a *attachment, v *shm.View) (err error) {
	var errs []error
	ended, returned := false, false
	defer func() {
		errs = append(errs, g.drain(a, v))
		if v != nil {
			errs = append(errs, g.told.take()...)
		}
		if err = g.fail("detach", errors.Join(errs...)); !returned {
			g.logged(err)
			a.session.unheard(err)
		}
	}()
	defer func() {
		a.runHooks(&errs)
		returned = ended
	}()
	if v != nil {
		v.End()
	}
	ended = true
	return nil
}

// drain gives the attachment back when its last use is over, which may be later.
func (g *Segment) drain(a *attachment, v *shm.View) (err error) {
	if v == nil {
		return g.releaseIf(a, func() {})
	}
	var mu sync.Mutex
	waits := true
	v.Drain(func() {
		rerr := g.releaseIf(a, func() { a.drained = true })
		mu.Lock()
		defer mu.Unlock()
		if waits {
			err = rerr
		} else {
			g.logged(rerr)
		}
	})
	mu.Lock()
	defer mu.Unlock()
	waits = false
	return err
}

// releaseIf notes something and releases the attachment if that was its last use.
func (g *Segment) releaseIf(a *attachment, note func()) error {
	a.mu.Lock()
	last := a.life == g.life
	if last {
		note()
		last = a.lastUseLocked()
	}
	a.mu.Unlock()
	if !last {
		return nil
	}
	return a.session.release(a)
}

func (g *Segment) logged(err error) {
	if err != nil {
		g.session().log.Warn().Err(err).Stringer("handle", g.Handle()).Msg("detach")
	}
}

func (g *Segment) fail(op string, err error) error {
	if g.attachment == nil {
		return fail(op, 0, "", err)
	}
	return fail(op, g.Handle(), g.session().backend(), err)
}

func (g *Segment) gone() error {
	a, is := g.lockAttached()
	if !is {
		return g.closed()
	}
	a.mu.Unlock()
	return nil
}

func (g *Segment) session() *Session { return g.attachment.session }

// owned is a Segment as its owner sees it.
type owned Segment

func (o *owned) Release() error { return (*Segment)(o).Detach() }

func (o *owned) String() string { return "segment " + (*Segment)(o).Handle().String() }
