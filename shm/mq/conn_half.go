package mq

import (
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// One direction of a Conn: its state, its deadline, and how a call that waits in it is ended.
//
// A half has two mutexes, setting and mu, and no goroutine holds both; stop takes one after the other. A call of Read
// or Write holds mu while it waits. So whatever ends such a call, a deadline or Close, does so without mu: it sets
// halt and wakes the end.

// half is one direction of a Conn.
type half struct {
	// mu is held while one goroutine reads, or writes.
	mu  sync.Mutex
	end End
	// state is open, shut or closed. It only goes up, by compare-and-swap or to closed.
	state atomic.Uint32
	// shutErr is what calls answer when the half is shut: io.EOF, or that of a broken pipe.
	shutErr error
	// setting guards deadline and setter.
	setting  sync.Mutex
	deadline *time.Timer
	// setter counts deadlines, so that the timer of an earlier one does nothing.
	setter int
}

// The states of a half.
const (
	// open is the state at first.
	open = iota
	// shut is that after CloseRead or CloseWrite.
	shut
	// closed is that after Close.
	closed
)

// setDeadline sets the time at which calls end, those in flight too; the zero time is none. It does not wait. A half
// that is shut has no deadline any more, and that is no error; one that is closed is errClosed.
func (h *half) setDeadline(t time.Time) error {
	h.setting.Lock()
	defer h.setting.Unlock()
	if h.end == nil {
		return errClosed
	}
	if h.state.Load() != open || h.end.base().hasEnded() {
		if err := h.ended(); err != h.shutErr {
			return err
		}
		return nil
	}
	if h.deadline != nil {
		h.deadline.Stop()
		h.deadline = nil
	}
	h.setter++
	switch left := time.Until(t); {
	case t.IsZero():
		h.end.base().halt.Store(false)
	case left <= 0:
		h.interrupt()
	default:
		h.end.base().halt.Store(false)
		mine := h.setter
		// The timer may fire while another deadline is being set. Then setter is another by the time when it has the
		// mutex.
		h.deadline = time.AfterFunc(left, func() {
			h.setting.Lock()
			defer h.setting.Unlock()
			if h.setter == mine {
				h.interrupt()
			}
		})
	}
	return nil
}

// interrupt ends the wait of this half's call, and those to come, until halt is cleared. It does not wait.
func (h *half) interrupt() {
	e := h.end.base()
	e.halt.Store(true)
	e.rouse()
}

// stopped returns why a call may not read, or write, now: the half is not open, or its deadline is over. Otherwise
// nil.
func (h *half) stopped() error {
	switch {
	case h.state.Load() != open, h.end.base().ended.Load():
		return h.ended()
	case h.end.base().halt.Load():
		return os.ErrDeadlineExceeded
	}
	return nil
}

// ended returns the error of a half that is not open, or whose view has ended.
func (h *half) ended() error {
	e := h.end.base()
	if h.state.Load() == shut && !e.views[0].Ended() && !e.views[1].Ended() {
		return h.shutErr
	}
	return errClosed
}
