package dsa

import (
	"errors"
	"fmt"
	"sync"

	"github.com/godsm/godsm/internal/callback"
)

// hooks are the functions that OnDetach was given. Its zero value has none.
type hooks struct {
	// mu guards the two below. It is never held while a function of the list is called.
	mu   sync.Mutex
	list map[*func()]struct{}
	// over is true once Detach has taken the list: a function that comes later is called at once.
	over bool
}

// OnDetach has f called by Detach, once no call of this package is in flight and before anything is unmapped. If Detach
// has come so far already, f is called at once, by OnDetach. It is for structures whose locks lie in the area: f may
// take leases of the View by Hold, and so keep the bytes. F must not block, nor use the area. Functions are called in
// no particular order. Stop takes f back; it does nothing if f was called or is about to be. If f panics, the error of
// Detach names it.
func (a *Area) OnDetach(f func()) (stop func()) {
	if f == nil {
		return func() {}
	}
	h := &a.hooks
	h.mu.Lock()
	if h.over {
		h.mu.Unlock()
		f()
		return func() {}
	}
	if h.list == nil {
		h.list = map[*func()]struct{}{}
	}
	h.list[&f] = struct{}{}
	h.mu.Unlock()
	return func() {
		h.mu.Lock()
		delete(h.list, &f)
		h.mu.Unlock()
	}
}

// run calls all functions, even if one of them panics or ends its goroutine, and returns the errors of those that did
// not return. The caller holds all stripes. A second call finds none.
func (h *hooks) run() (err error) {
	h.mu.Lock()
	list := h.list
	h.list, h.over = nil, true
	h.mu.Unlock()
	var calls []callback.Call
	for f := range list {
		calls = append(calls, callback.Call{F: *f, Report: func(e error) { err = errors.Join(err, fmt.Errorf("dsa: %w", e)) }})
	}
	callback.All(calls)
	return err
}
