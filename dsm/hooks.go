package dsm

import (
	"fmt"
	"time"

	"github.com/godsm/godsm/internal/callback"
	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/excerpt"
)

// hook is a function of OnDetach. It is in a list of its attachment, under attachment.mu, until it is called or taken
// back; from then on it belongs to the goroutine that calls it.
type hook struct {
	f func()
	// older is the hook that was added before, and is called after.
	older *hook
	// began is when it was called, for the error of a Close that waits for it.
	began time.Time
}

// String names the function and where it is in the source.
func (h *hook) String() string {
	return "OnDetach function " + callback.Name(h.f)
}

// runHooks calls the hooks, newest first, those included that are added by hooks. Afterwards none can be added. It is
// called without locks.
func (a *attachment) runHooks(errs *[]error) {
	for h := a.nextHook(); h != nil; h = a.nextHook() {
		a.runHook(h, errs)
	}
}

// nextHook takes the newest hook from the list. If there is none it closes the list, under the same lock, so that no
// hook is added which is never called.
func (a *attachment) nextHook() *hook {
	a.mu.Lock()
	defer a.mu.Unlock()
	h := a.hooks
	if h == nil {
		a.unhooked = true
	} else {
		a.hooks = h.older
		h.began = time.Now()
	}
	a.running = h
	return h
}

// runHook calls one hook. If that panics or ends the goroutine, or both, the error is noted and the others are called
// on the way out.
func (a *attachment) runHook(h *hook, errs *[]error) {
	returned := false
	defer func() {
		if returned {
			return
		}
		if p := recover(); p != nil {
			*errs = append(*errs, fmt.Errorf("the %v panicked: %s", h, excerpt.Print(p)))
		} else {
			*errs = append(*errs, fmt.Errorf("the %v ended its goroutine (runtime.Goexit)", h))
		}
		a.runHooks(errs) // a panic on the way of a Goexit looks like any other
	}()
	h.f()
	returned = true
}

// runningHook returns the hook that has run for longest, for which Close waits, and nil if there is none. It takes
// Session.mu and each attachment.mu.
func (s *Session) runningHook() (found *hook) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for a := s.attachments; a != nil; a = a.next {
		a.mu.Lock()
		if h := a.running; h != nil && (found == nil || h.began.Before(found.began)) {
			found = h
		}
		a.mu.Unlock()
	}
	return found
}

// deadlock returns the error of a Close that would wait for a hook which waits for it.
func deadlock(h *hook, why string) error {
	return errkind.As(ErrDeadlock, fmt.Errorf("Close is under way and waits for the %v, %s: "+
		"let that return, and the session ends", h, why))
}
