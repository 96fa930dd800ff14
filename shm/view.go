package shm

import (
	"errors"
	"sync"
	"sync/atomic"

	"github.com/godsm/godsm/internal/callback"
	"github.com/godsm/godsm/internal/errkind"
)

// ErrClosed says that a view has ended. It is the same value as dsm.ErrClosed.
var ErrClosed = errkind.Closed

var errEnded = errkind.As(ErrClosed,
	errors.New("the shared bytes are detached: their segment was detached, or its session was closed"))

// View is the permission to use shared bytes, and the end of that permission. Package dsm makes one for each
// Segment whose Region is taken and ends it; a structure that lies in the bytes asks it.
//
// The end comes from another goroutine at any moment and waits for no one. So a method of a structure asks Ended when
// it begins, after each sleep, in each loop, and again before it gives an answer; an answer that was made from bytes
// after the end is not given, but ErrClosed. Once a view has ended, its bytes may be swapped for private
// pages: loads then return zeros, stores reach no other process, and nothing faults.
//
// Views form a tree: the end of a view ends those made of it by Sub. What must not be swapped in the middle of a call
// while its session goes on, such as a structure's lock, is protected by a lease (Enter). All methods are safe for
// concurrent use. A nil View never ends.
type View struct {
	ended atomic.Bool
	cells atomic.Pointer[[leaseCells]leaseCell] // leases of Enter; made by the first one

	mu       sync.Mutex // a parent's before its children's
	parent   *View
	children map[*View]struct{}
	wake     map[*func()]struct{}
	held     int      // leases of Hold
	gives    []func() // called before drained
	drained  []func() // called when no lease is left

	report func(error) // of Report; the parent's without one
}

// Sub returns a view that ends when v ends, or earlier. A view made of one that has ended has ended too. Sub of nil
// returns a view of its own.
func (v *View) Sub() *View {
	c := &View{parent: v}
	if v == nil {
		return c
	}
	c.report = v.report
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.ended.Load() {
		c.ended.Store(true)
		return c
	}
	if v.children == nil {
		v.children = map[*View]struct{}{}
	}
	v.children[c] = struct{}{}
	return c
}

// Ended reports whether the view has ended. It is one load of a line that is rarely written.
func (v *View) Ended() bool { return v != nil && v.ended.Load() }

// Err returns nil, or after the end an error that matches ErrClosed.
func (v *View) Err() error {
	if v.Ended() {
		return errEnded
	}
	return nil
}

// Answer returns err, or ErrClosed once the view has ended, whatever err says: bytes that were read after the end mean
// nothing, and neither does an error that was made of them. A method calls it with the error it is about to return.
func (v *View) Answer(err error) error {
	if v.Ended() && !errors.Is(err, ErrClosed) {
		return errEnded
	}
	return err
}

// End ends the view and those made of it, and calls what OnEnd was given. It does not wait for leases. Ending twice is
// harmless; the second call may return before the first is through. A nil View does not end.
func (v *View) End() {
	if v == nil {
		return
	}
	v.mu.Lock()
	if v.ended.Swap(true) {
		v.mu.Unlock()
		return
	}
	children, wake := v.children, v.wake
	v.children, v.wake = nil, nil
	v.mu.Unlock()
	var calls []callback.Call
	for c := range children {
		calls = append(calls, callback.Call{F: c.End})
	}
	for f := range wake {
		calls = append(calls, callback.Call{F: *f, Report: v.report})
	}
	callback.All(append(calls, callback.Call{F: func() { v.parent.drop(v) }}, callback.Call{F: v.settle}))
}

func (v *View) drop(child *View) {
	if v == nil {
		return
	}
	v.mu.Lock()
	delete(v.children, child)
	v.mu.Unlock()
}

// OnEnd has f called by End, or at once if the view has ended. It is for waking sleepers: f must not block. Stop takes f
// back. An f that panics or calls runtime.Goexit keeps none of the others from being called: see Report.
func (v *View) OnEnd(f func()) (stop func()) {
	if v == nil || f == nil {
		return func() {}
	}
	v.mu.Lock()
	if v.ended.Load() {
		v.mu.Unlock()
		f()
		return func() {}
	}
	if v.wake == nil {
		v.wake = map[*func()]struct{}{}
	}
	v.wake[&f] = struct{}{}
	v.mu.Unlock()
	return func() {
		v.mu.Lock()
		delete(v.wake, &f)
		v.mu.Unlock()
	}
}

// OnDrain has f called after the end and the last lease, before what Drain was given: the bytes are still those that others
// have, and f gives back what is held in them. It is not called if the session has swapped them before, nor by a nil View.
// For an f that panics see Report.
func (v *View) OnDrain(f func()) {
	if v == nil || f == nil {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.gives = append(v.gives, f)
}

// Lease keeps the bytes of a view where they are, over the end of the view, until Leave. The end of the whole
// session does not wait for it. The zero Lease is none.
type Lease struct {
	view *View
	cell *leaseCell // nil: it was made by Hold
}

// leaseCell is one of the counters that leases of Enter are spread over, so that two processors seldom share a line.
type leaseCell struct {
	n atomic.Int64
	_ [56]byte
}

const leaseCells = 64

// Enter begins a lease for one call, or for an entry or guard that outlives its call. ErrClosed after the end.
func (v *View) Enter() (Lease, error) {
	if v == nil {
		return Lease{}, nil
	}
	cells := v.cells.Load()
	if cells == nil {
		v.cells.CompareAndSwap(nil, new([leaseCells]leaseCell))
		cells = v.cells.Load()
	}
	l := Lease{v, &cells[nearby()%leaseCells]}
	l.cell.n.Add(1)
	if v.ended.Load() {
		l.Leave()
		return Lease{}, errEnded
	}
	return l, nil
}

// Hold is Enter for the caller that ends the view: after the end it still begins a lease, as long as Drain's functions
// have not been called. It reports whether it did.
func (v *View) Hold() (l Lease, ok bool) {
	if v == nil {
		return Lease{}, true
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.held < 0 {
		return Lease{}, false
	}
	v.held++
	return Lease{view: v}, true
}

// Leave ends the lease. The last one out of a view that has ended calls what Drain was given.
func (l Lease) Leave() {
	v := l.view
	switch {
	case v == nil:
		return
	case l.cell != nil:
		l.cell.n.Add(-1)
	default:
		v.mu.Lock()
		v.held--
		v.mu.Unlock()
	}
	if v.ended.Load() {
		v.settle()
	}
}

// Report has f called with an error for each function of OnEnd, OnDrain and Drain that panicked, or that ended its
// goroutine (runtime.Goexit), of this view and of those that are made of it afterwards. The error names the function. Such
// a function keeps none of the others from being called. Without a Report the panic goes on once all have been called; a
// Goexit goes on then in any case. Report is for the package that makes the view, before others have it.
func (v *View) Report(f func(error)) {
	if v != nil {
		v.report = f
	}
}

// Drain has f called once the view has ended and no lease of it is left: at once, or by the last one that leaves. A nil
// View never does.
func (v *View) Drain(f func()) {
	if v == nil || f == nil {
		return
	}
	v.mu.Lock()
	if v.held >= 0 {
		v.drained = append(v.drained, f)
		v.mu.Unlock()
		if v.ended.Load() {
			v.settle()
		}
		return
	}
	v.mu.Unlock()
	f()
}

// settle calls what Drain was given, if no lease is left. From then on held is below 0.
//
// No lease is missed: after the end a cell only goes down, but for an Enter that takes its own count back and then comes
// here itself, and a lease goes back to the cell it came from. So cells that are found 0 one after another were all 0
// when the last one was looked at.
func (v *View) settle() {
	v.mu.Lock()
	if v.held != 0 || len(v.drained) == 0 || !v.empty() {
		v.mu.Unlock()
		return
	}
	list := append(v.gives, v.drained...)
	v.gives, v.drained, v.held = nil, nil, -1
	v.mu.Unlock()
	var calls []callback.Call
	for _, f := range list {
		calls = append(calls, callback.Call{F: f, Report: v.report})
	}
	callback.All(calls)
}

func (v *View) empty() bool {
	cells := v.cells.Load()
	if cells == nil {
		return true
	}
	for i := range cells {
		if cells[i].n.Load() != 0 {
			return false
		}
	}
	return true
}
