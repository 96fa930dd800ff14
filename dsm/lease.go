package dsm

import (
	"errors"
	"fmt"
	"io"
	"runtime/debug"

	"github.com/godsm/godsm/internal/errkind"
)

// With lends the bytes to f. While f runs they stay mapped, even over a Detach; f must not keep them. A fault in
// f's own goroutine, as when somebody has truncated the object, is ErrCorrupt and not the end of the process. On
// a detached segment it is ErrClosed; so is, in checked mode, a fault in f at a slice of any segment that was
// kept past its Detach. In checked mode the errors say where the segment was attached and detached. An error of
// f's own is returned as it is.
func (g *Segment) With(f func(b []byte) error) (err error) {
	if err := g.lease(); err != nil {
		return g.fail("use", err)
	}
	defer g.unlease()
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = g.fail("use", g.fault(r))
		}
	}()
	return f(g.attachment.bytes)
}

func (g *Segment) lease() error {
	a, is := g.lockAttached()
	if !is {
		return g.closed()
	}
	a.leases++
	a.mu.Unlock()
	return nil
}

func (g *Segment) unlease() {
	a := g.attachment
	a.mu.Lock()
	a.leases--
	last := a.lastUse()
	a.mu.Unlock()
	if last {
		if err := g.release(); err != nil {
			g.session().log.Warn().Err(err).Stringer("handle", g.Handle()).Msg("detach")
		}
	}
}

// fault makes an error of a panic that is a fault in the segment's bytes, or in a guard; any other goes on.
func (g *Segment) fault(r any) error {
	f, ok := r.(interface {
		error
		Addr() uintptr
	})
	if !ok {
		panic(r)
	}
	if bytes := g.attachment.bytes; within(f.Addr(), bytes) {
		return fmt.Errorf("%w: byte %d is gone from under the mapping%s: %s (%w)", ErrCorrupt,
			f.Addr()-address(bytes), g.sites(), g.session().member.FaultCause(&g.attachment.holding.entry), error(f))
	}
	if x, ok := guarded.find(f.Addr()); ok {
		return errkind.As(ErrClosed, fmt.Errorf("byte %d of segment %s was used through a slice that was "+
			"kept too long: attached at %s, detached at %s (%w)",
			f.Addr()-address(x.bytes), x.handle, &x.trail.attached, &x.trail.detached, error(f)))
	}
	panic(r)
}

// ReadAt copies from the segment, as io.ReaderAt. A fault is an error, as in With.
func (g *Segment) ReadAt(p []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, g.outside("read", off)
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

// WriteAt copies into the segment, as io.WriterAt; what reaches beyond its end is not written and
// io.ErrShortWrite. A fault is an error, as in With.
func (g *Segment) WriteAt(p []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, g.outside("write", off)
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

func (g *Segment) outside(op string, off int64) error {
	return g.fail(op, errors.New("negative offset "+fmt.Sprint(off)))
}
