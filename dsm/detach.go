package dsm

import (
	"errors"
	"sync"

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

// drainView gives the attachment back when its last use is over. That may be at once, and err is the release's, or
// later in the goroutine that leaves the view last: then its error is logged.
func (g *Segment) drainView(a *attachment, v *shm.View) (err error) {
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
			g.logErr(rerr)
		}
	})
	mu.Lock()
	defer mu.Unlock()
	waits = false
	return err
}

// releaseIf calls note under attachment.mu and releases the attachment if that was its last use. If the attachment is
// another Segment's already it does nothing.
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
	return a.session.releaseAttachment(a)
}

// detachIfErr returns g, or detaches it if there is an error. It must be called without locks: Detach takes them.
func (g *Segment) detachIfErr(err error) (*Segment, error) {
	if err == nil || g == nil {
		return g, err
	}
	return nil, errors.Join(err, g.Detach())
}
