// Package scope knows which goroutines of this process run inside a Session.Contain of package dsm, and which locks they
// have taken there. After a fault the scope gives those back that are held yet.
//
// Locks ask Quiet before they look any further: one load of a word that hardly ever changes.
package scope

import (
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/godsm/godsm/internal/sys/goid"
)

// Held is a lock as it was taken once, by the goroutine of a scope.
type Held interface {
	// Over reports whether the lock has been released since, in any goroutine. It reads no shared memory.
	Over() bool
	// Abandon gives the lock back: an exclusive one as if its holder had died. It does nothing if it has been released,
	// and does not fault.
	Abandon()
}

// Scope is what one goroutine has locked since Begin. Its methods are for that goroutine.
type Scope struct {
	parent    *Scope
	goroutine uint64
	held      []Held
	sweep     int // when held has so many, those that are over go
}

var (
	running atomic.Int32 // scopes in this process
	alert   atomic.Int32 // those, and one more for each Raise
	scopes  sync.Map     // the innermost *Scope of each goroutine, by its number
)

// Quiet reports whether no scope runs, and Raise was not called.
func Quiet() bool { return alert.Load() == 0 }

// Raise makes Quiet false for good.
func Raise() { alert.Add(1) }

// Running reports whether a scope runs, in any goroutine.
func Running() bool { return running.Load() != 0 }

// Begin begins a scope, in which faults of the calling goroutine are panics already.
func Begin() *Scope {
	s := &Scope{goroutine: goid.Current()}
	if s.goroutine != 0 {
		if outer, is := scopes.Load(s.goroutine); is {
			s.parent = outer.(*Scope)
		}
		scopes.Store(s.goroutine, s)
	}
	running.Add(1)
	alert.Add(1)
	return s
}

// End ends the scope. What it still holds is the outer scope's then, if there is one.
func (s *Scope) End() {
	alert.Add(-1)
	running.Add(-1)
	switch {
	case s.goroutine == 0:
	case s.parent == nil:
		scopes.Delete(s.goroutine)
	default:
		scopes.Store(s.goroutine, s.parent)
		for _, h := range s.held {
			s.parent.Add(h)
		}
	}
}

// Inner reports whether the scope is inside another one.
func (s *Scope) Inner() bool { return s.parent != nil }

// Current returns the innermost scope of the calling goroutine, nil if it is in none.
func Current() *Scope {
	if !Running() {
		return nil
	}
	if was := debug.SetPanicOnFault(true); !was { // in a scope it is set; this is a fraction of what goid takes
		debug.SetPanicOnFault(false)
		return nil
	}
	if s, is := scopes.Load(goid.Current()); is {
		return s.(*Scope)
	}
	return nil
}

// Add notes a lock that has been taken.
func (s *Scope) Add(h Held) {
	if len(s.held) >= s.sweep {
		s.held = slices.DeleteFunc(s.held, Held.Over)
		s.sweep = 2*len(s.held) + 16
	}
	s.held = append(s.held, h)
}

// Abandon gives back what has been taken in the scope and not released, the newest first.
func (s *Scope) Abandon() {
	for _, h := range slices.Backward(s.held) {
		h.Abandon()
	}
	s.held = nil
}
