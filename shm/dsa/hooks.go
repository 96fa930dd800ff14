package dsa

import (
	"errors"
	"fmt"
	"sync"

	"github.com/godsm/godsm/internal/callback"
)

// hooks are what OnDetach was given.
type hooks struct {
	mu   sync.Mutex
	list map[*func()]struct{}
	over bool
}

// OnDetach has f called by Detach, once no call of this package is in flight, before anything is unmapped; at once if
// that is over. It is for structures whose locks lie in the area: f may take leases of the View by Hold. It must not
// block, nor use the area. Stop takes f back. If f panics, the error of Detach names it.
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

// run calls them, whichever way out they take, and returns the errors of those that did not return.
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
