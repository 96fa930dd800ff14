package dsm

import (
	"errors"

	"github.com/godsm/godsm/shm"
)

// Detach ends the attachment. The view of Region ends, hooks of OnDetach run, the bytes are unmapped if no other
// Segment in this process shares them, and the segment is removed if nothing else holds it.
//
// Detach waits for hooks, and for the control lock. It waits neither for a With that is still running nor for
// structures that hold a lease of the view: those keep the bytes until the last one has returned, which then does the
// rest. Its error is that of a hook or of the system; the Segment has ended in any case. Detaching twice is harmless.
func (g *Segment) Detach() error {
	a, is := g.lockAttached()
	if !is {
		return nil
	}
	a.detached = true
	if g.trail != nil {
		g.trail.detached = callSite()
	}
	a.item.Forget()
	if a.hooks != nil || a.view != nil {
		v := a.view
		if v != nil && a.leases > 0 {
			// Structures that functions of With use keep their leases of the view until those return: what they hold in
			// the bytes is not given to others before.
			a.lent, _ = v.Hold()
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
	if err := a.session.releaseAttachment(a); err != nil {
		return g.fail("detach", err)
	}
	return nil
}

// detachViewed does the rest of Detach for a Segment that has hooks or a view: end of the view, hooks, drain, in this
// order. The steps are deferred, so that they are done also if a hook or a function of the view ends the goroutine
// (runtime.Goexit); the error, which no caller gets then, is logged and kept for Close.
func (g *Segment) detachViewed(a *attachment, v *shm.View) (err error) {
	var errs []error
	ended, returned := false, false
	defer func() {
		errs = append(errs, g.drainView(a, v))
		if v != nil {
			errs = append(errs, g.told.take()...)
		}
		if err = g.fail("detach", errors.Join(errs...)); !returned {
			g.logErr(err)
			a.session.keepErrForClose(err)
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

// detachIfErr returns g, or detaches it if there is an error. It must be called without locks: Detach takes them.
func (g *Segment) detachIfErr(err error) (*Segment, error) {
	if err == nil || g == nil {
		return g, err
	}
	return nil, errors.Join(err, g.Detach())
}

// OnDetach has f called when this Segment is detached, however that comes about: newest first, each once, before the
// bytes are unmapped. On a Segment that is detached already f is called at once. Cancel takes f back, and reports
// whether it came in time.
//
// Functions are called without a lock, in the goroutine of the Detach or Close, which waits for them. They may call
// Detach, which does nothing, Unpin, and OnDetach. A call of Close from one is ErrDeadlock.
//
// A function that panics, or ends its goroutine (runtime.Goexit), does not keep the others from being called, nor the
// segment from ending; the error of Detach or Close names it. If the goroutine ends, the error is logged, and the rest
// is done before the goroutine is gone. A nil f is no function.
func (g *Segment) OnDetach(f func()) (cancel func() bool) {
	if f == nil {
		return func() bool { return false }
	}
	h := &hook{f: f}
	a, is := g.lockAttachment()
	if is && a.unhooked {
		a.mu.Unlock()
		is = false
	}
	if !is {
		f()
		return func() bool { return false }
	}
	// Under the lock that nextHook closes the list under: a hook that is added here is called.
	h.older, a.hooks = a.hooks, h
	a.mu.Unlock()
	return func() bool {
		a, is := g.lockAttachment()
		if !is {
			return false
		}
		defer a.mu.Unlock()
		for at := &a.hooks; *at != nil; at = &(*at).older {
			if *at == h {
				*at = h.older
				return true
			}
		}
		return false
	}
}

// errIfDetached returns ErrClosed, with a reason, if g is detached, and nil if it is attached.
func (g *Segment) errIfDetached() error {
	a, is := g.lockAttached()
	if !is {
		return g.errDetachedAt()
	}
	a.mu.Unlock()
	return nil
}

// detachUnowned detaches the Segments that no owner of the session has ended: those under owners that are not children
// of the session's, and those whose owner was kept from releasing them. It goes on, in a deferred call, if a hook ends
// the goroutine.
func (s *Session) detachUnowned(errs *[]error) {
	done := false
	defer func() {
		if !done {
			s.detachUnowned(errs)
		}
	}()
	for g := s.newestUnownedSegment(); g != nil; g = s.newestUnownedSegment() {
		*errs = append(*errs, g.Detach())
	}
	done = true
}
