package dsm

import (
	"fmt"
	"time"

	"github.com/godsm/godsm/internal/callback"
)

// hook is a function of OnDetach.
type hook struct {
	f     func()
	older *hook
	began time.Time // when it was called, if Close may have to say so
}

// String names the function and where it stands.
func (h *hook) String() string {
	return "OnDetach function " + callback.Name(h.f)
}

// OnDetach has f called when this Segment is detached, however that comes about: newest first, each
// once, before the bytes go. On one that is detached already f is called at once. Cancel takes f back,
// and reports whether it came in time.
//
// A function that panics, or ends its goroutine (runtime.Goexit), keeps neither the others nor the end of the segment
// from coming; the error of Detach or Close names it. If the goroutine ends, the error is logged, and the rest is done
// before the goroutine is gone. A nil f is no function.
func (g *Segment) OnDetach(f func()) (cancel func() bool) {
	if f == nil {
		return func() bool { return false }
	}
	h := &hook{f: f}
	a, is := g.lock()
	if is && a.unhooked {
		a.mu.Unlock()
		is = false
	}
	if !is {
		f()
		return func() bool { return false }
	}
	h.older, a.hooks = a.hooks, h
	a.mu.Unlock()
	return func() bool {
		a, is := g.lock()
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

// runHooks calls the hooks, newest first, those included that come meanwhile. Afterwards none can come.
func (a *attachment) runHooks(errs *[]error) {
	for h := a.nextHook(); h != nil; h = a.nextHook() {
		a.runHook(h, errs)
	}
}

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

// runHook calls one. If that panics or ends the goroutine, or both, the others are called on the way out.
func (a *attachment) runHook(h *hook, errs *[]error) {
	returned := false
	defer func() {
		if returned {
			return
		}
		if p := recover(); p != nil {
			*errs = append(*errs, fmt.Errorf("the %v panicked: %v", h, p))
		} else {
			*errs = append(*errs, fmt.Errorf("the %v ended its goroutine (runtime.Goexit)", h))
		}
		a.runHooks(errs) // a panic on the way of a Goexit looks like any other
	}()
	h.f()
	returned = true
}
