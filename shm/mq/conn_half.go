package mq

import (
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/godsm/godsm/internal/sys/fault"
)

// half is one direction of a Conn.
type half struct {
	mu       sync.Mutex // held while one reads, or writes
	end      End
	state    atomic.Uint32 // open, shut, closed: it only goes up
	shutErr  error         // what calls answer when it is shut
	setting  sync.Mutex
	deadline *time.Timer
	setter   int // counts deadlines, so that an old one's timer does nothing
}

// The states of a half.
const (
	open   = iota
	shut   // by CloseRead or CloseWrite
	closed // by Close
)

// setDeadline sets the time at which calls end. A half that is shut has none any more, and that is no error.
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

// interrupt ends the wait of this half, and those to come.
func (h *half) interrupt() {
	e := h.end.base()
	e.halt.Store(true)
	if e.ended.Load() {
		return
	}
	defer fault.Ignore(fault.Catch()) // it may be a timer's goroutine
	if e.rung() {
		e.conn.bell.Interrupt()
	} else {
		e.mine.wake()
	}
}

// stopped says why a call may not read, or write, now.
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
