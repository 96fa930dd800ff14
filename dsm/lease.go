package dsm

import (
	"errors"
	"fmt"
	"io"
	"runtime/debug"

	"github.com/godsm/godsm/shm"
)

// A lease keeps a segment's bytes mapped while a function uses them. It does not keep the segment from being detached,
// and it orders nothing between processes.

// With lends the bytes to f and returns f's error. While f runs they stay mapped, even over a Detach or a Close of the
// session, which is then listed as closing and keeps its row, and so its locks, until f returns. f must not keep the
// bytes.
//
// A fault in f's own goroutine, as when another process has truncated the object, is ErrCorrupt and not the end of the
// process. On a detached segment With is ErrClosed, without a call of f; so is, in checked mode, a fault in f at a
// slice of any segment that was kept past its Detach. In checked mode the errors include where the segment was attached
// and detached. Other panics go on. An error of f's own is returned as it is. Several goroutines may be in With at
// once.
func (g *Segment) With(f func(b []byte) error) (err error) {
	if f == nil {
		return g.fail("use", errNoFunction)
	}
	b, err := g.lease()
	if err != nil {
		return g.fail("use", err)
	}
	defer g.unlease()
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = g.fail("use", g.errOfFaultInWith(r, b))
		}
	}()
	return f(b)
}

// lease returns the bytes and keeps them mapped until unlease; on a detached Segment it is ErrClosed.
func (g *Segment) lease() ([]byte, error) {
	a, is := g.lockAttached()
	if !is {
		return nil, g.errDetachedAt()
	}
	defer a.mu.Unlock()
	a.leases++
	return a.bytes, nil
}

// unlease ends a lease. The last one after a Detach does what that has left: it gives the attachment back, and lets the
// view be drained.
func (g *Segment) unlease() {
	a := g.attachment
	a.mu.Lock()
	a.leases--
	var lent shm.Lease
	if a.leases == 0 {
		lent, a.lent = a.lent, lent
	}
	last := a.lastUseLocked()
	a.mu.Unlock()
	if last {
		g.logErr(a.session.releaseAttachment(a))
	}
	// A Detach that came while f ran goes on from here: its view may be drained now.
	lent.Leave()
}

// errOfFaultInWith makes an error of r, what a panic in With carried, if that is a fault in the bytes that are lent,
// or in bytes that have ended. Any other panic goes on.
func (g *Segment) errOfFaultInWith(r any, lent []byte) error {
	f, ok := r.(interface {
		error
		Addr() uintptr
	})
	if !ok {
		panic(r)
	}
	if within(f.Addr(), lent) {
		return fmt.Errorf("%w: byte %d is gone from under the mapping%s: %s (%w)", ErrCorrupt,
			f.Addr()-address(lent), g.sitesText(), g.sessionOf().member.Books.FaultCause(&g.attachment.holding.held.Entry), error(f))
	}
	if err := shm.Fault(r); err != nil {
		return err
	}
	panic(r)
}

// ReadAt copies from the segment into p, as io.ReaderAt says. Off is in bytes; at the end it returns io.EOF. The copy
// is not atomic: other processes may write while it runs. A fault is an error, as in With.
func (g *Segment) ReadAt(p []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, g.errOutside("read", off)
	}
	err = g.With(func(b []byte) error {
		if off < int64(len(b)) {
			n = copy(p, b[off:])
		}
		return nil
	})
	if err == nil && n < len(p) {
		err = io.EOF
	}
	return n, err
}

// WriteAt copies p into the segment, as io.WriterAt says. What reaches beyond the segment's end is not written, and the
// error is io.ErrShortWrite then. The copy is not atomic. A fault is an error, as in With.
func (g *Segment) WriteAt(p []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, g.errOutside("write", off)
	}
	err = g.With(func(b []byte) error {
		if off < int64(len(b)) {
			n = copy(b[off:], p)
		}
		return nil
	})
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	return n, err
}

// errOutside returns the error of an offset before the segment's begin.
func (g *Segment) errOutside(op string, off int64) error {
	return g.fail(op, errors.New("negative offset "+fmt.Sprint(off)))
}
