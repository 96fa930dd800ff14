package dsm

import (
	"sync"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/shm"
)

// The view of a Segment is what structures in its bytes ask for its end. A Segment has none until Region is called,
// since a view takes a mapping of the Segment's own: only then can its bytes be swapped without those of others.

// ended is the view of a Segment that is detached.
var ended = func() *shm.View {
	v := shm.NewView(nil)
	v.End()
	return v
}()

// makeView gives the Segment its view, and for that a mapping of its own. A lease keeps the bytes mapped, and
// Session.viewing keeps out other goroutines that want the same. If the Segment has been detached in between, the view
// has ended. If there is no mapping to be made it warns, and the view is of the bytes that other Segments share.
func (g *Segment) makeView() ([]byte, *shm.View) {
	if _, err := g.lease(); err != nil {
		return nil, ended
	}
	defer g.unlease()
	a, s := g.attachment, g.sessionOf()
	s.viewing.Lock()
	defer s.viewing.Unlock()
	a.mu.Lock()
	b, v, own := a.bytes, a.view, ownMapping{a.own, a.bytes}
	a.mu.Unlock()
	if v != nil {
		return b, v
	}
	// Counted as a call in flight, so that Close does not swap the mapping while it is made.
	if s.beginCallUnlessClosed() != nil {
		// Close is under way, and withdraws what the session has mapped by then. A Detach that comes before must not
		// unmap the bytes under what the end of the view still calls: it finds a view, and leaves them to Close.
		v = s.view.Sub()
	} else {
		defer s.endCall()
		var err error
		if own.mapping.Bytes == nil { // else Attach has found none to share
			own, err = s.ownMapping(a.holding)
		}
		if err != nil {
			s.log.Warn().Err(err).Stringer("handle", g.handle).
				Str("event", "view-shared").Msg("a segment has no mapping of its own: after its end it stays until it is used no longer")
			v = s.view.Sub()
		} else {
			// A death here leaves nothing: a mapping ends with its process.
			failpoint.Hit("dsm/view/mapped")
			b, v = own.part, s.view.Over(own.part)
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.bytes, a.own, a.view = b, own.mapping, g.keepViewErrs(v)
	if a.detached {
		v.End()
		a.drained = true // no lease of it begins any more
	}
	return b, v
}

// told holds the errors of a Segment's view, for Detach: of functions that structures gave it, and that panicked. Its
// mu is taken without any other.
type viewErrs struct {
	mu   sync.Mutex
	errs []error
	// over is set once Detach has taken the errors.
	over bool
}

// keepViewErrs makes g keep the errors that come at the end of its view v, until Detach takes them. What comes later
// goes to the session. It returns v.
func (g *Segment) keepViewErrs(v *shm.View) *shm.View {
	t, s := &viewErrs{}, g.sessionOf()
	g.told = t
	v.Report(func(err error) {
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.over {
			s.logLateCloseErr(err)
			return
		}
		t.errs = append(t.errs, err)
	})
	return v
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

// take returns the errors, and leaves later ones to the session.
func (t *viewErrs) take() []error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.over = true
	return t.errs
}
