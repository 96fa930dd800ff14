package mq

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/sys/bell"
	"github.com/godsm/godsm/internal/sys/fault"
	"github.com/godsm/godsm/internal/sys/spin"
	"github.com/godsm/godsm/shm/shmsync"
)

// Addr names one end of a Conn. Its text is the session's row and incarnation, or "?" if no process has been there yet.
type Addr struct {
	Peer  shmsync.Peer
	Known bool
}

// Network is "mq".
func (Addr) Network() string { return "mq" }

func (a Addr) String() string {
	if !a.Known {
		return "?"
	}
	return a.Peer.String()
}

// Conn is a stream of bytes both ways over a pair of queues: a net.Conn, with deadlines, so that what
// works over sockets works over shared memory. Each Write is published and wakes the reader. Its methods
// are safe for concurrent use.
//
// Read is io.EOF after the other end's Close or CloseWrite, and ErrPeerDied after its process's death, in all cases
// after what it had written. Write is syscall.EPIPE and io.ErrClosedPipe after the other end's Close or CloseRead. When
// the segment is detached under it, or the session closed, it is closed: calls end with an error that matches
// net.ErrClosed and ErrClosed. A truncated segment is ErrCorrupt. The zero Conn is closed.
type Conn struct {
	in  half
	out half
	r   *Receiver
	s   *Sender

	rest  []byte // of the message that is being read; guarded by in.mu
	piece int    // what is written at once

	closing sync.Once

	naming sync.Mutex
	remote Addr // the other end, once it is known
	gone   bool // the bytes may be
}

// minRing is the smallest ring for a Conn.
const minRing = 64

// NewConn makes a connection of the end that sends on one queue and the end that receives on another one. It
// uses them from then on, until Close, which detaches both. Rings of less than 64 bytes are ErrSize. On Linux
// it takes a descriptor, for a socket that wakes who reads; without one the reader sleeps as a Receiver does.
func NewConn(s *Sender, r *Receiver) (c *Conn, err error) {
	if s.size < minRing || r.size < minRing {
		return nil, errkind.As(ErrSize,
			fmt.Errorf("a connection wants rings of %d bytes or more, these are %d and %d", minRing, s.size, r.size))
	}
	c = &Conn{r: r, s: s, piece: int(min(s.size/4, 1<<20)&^(word-1)) - word}
	c.in.end, c.in.shutErr = r, io.EOF
	c.out.end, c.out.shutErr = s, errPipe
	s.conn, r.conn = &forConn{}, &forConn{bell: bell.New(r.ready)} // readers wait most of the time
	defer r.answer(&err)
	defer fault.Return(&err, fault.Catch())
	if b := r.conn.bell; b != nil {
		r.bell.Store(b)
		if err := r.usable(); err != nil {
			b.Close()
			return nil, err
		}
		r.mine.bell.Store(b.Name())
	}
	return c, nil
}

var (
	errClosed = errkind.As(ErrClosed, net.ErrClosed)        // of a Conn that is closed
	errPipe   = errkind.As(io.ErrClosedPipe, syscall.EPIPE) // of a Write that nothing will read
)

// forConn is what an end of a Conn has besides: its goroutine is one of many, as a server's are.
type forConn struct {
	bell   *bell.Bell // nil if the system has none, and for the sender
	rounds spin.Rounds
}

// firstLooks are for an answer that is on its way.
const firstLooks = 30

func (c *forConn) spin(ready func() bool, halt *atomic.Bool) bool {
	for range firstLooks {
		if ready() {
			return true
		}
	}
	return c.rounds.Until(func() (done, stop bool) { return ready(), halt.Load() }) || halt.Load()
}

// rung reports whether this end is woken by its bell.
func (e *end) rung() bool {
	return e.conn != nil && e.conn.bell != nil && !e.ended.Load() && e.mine.bell.Load() != 0
}

// Read reads what is there, at least one byte unless len(b) is 0, and waits for it until the deadline.
func (c *Conn) Read(b []byte) (int, error) {
	if c.r == nil {
		return 0, c.failed("read", errClosed)
	}
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
	n, err := c.read(b)
	switch {
	case c.r.hasEnded():
		err = c.in.ended()
	case err == nil:
		return n, nil
	case errors.Is(err, ErrDetached):
		err = io.EOF
	}
	if err == io.EOF {
		return 0, io.EOF
	}
	return 0, c.failed("read", err)
}

func (c *Conn) read(b []byte) (n int, err error) {
	defer fault.Return(&err, fault.Catch())
	for {
		if err := c.in.stopped(); err != nil {
			return 0, err
		}
		if len(c.rest) > 0 || len(b) == 0 {
			n := copy(b, c.rest)
			c.rest = c.rest[n:]
			return n, nil
		}
		m, err := c.r.TryReceive()
		switch err {
		case nil:
			c.rest = m
		case ErrWouldBlock:
			_, _ = wait(context.Background(), []End{c.r})
		default:
			return 0, err
		}
	}
}

// Write writes all of b, and waits for room until the deadline. It may have written a part when that is over.
func (c *Conn) Write(b []byte) (n int, err error) {
	if c.s == nil {
		return 0, c.failed("write", errClosed)
	}
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	n, err = c.write(b)
	switch {
	case c.s.hasEnded():
		err = c.out.ended()
	case errors.Is(err, ErrDetached):
		err = errkind.As(errPipe, err)
	}
	return n, c.failed("write", err)
}

func (c *Conn) write(b []byte) (n int, err error) {
	defer fault.Return(&err, fault.Catch())
	if err := c.out.stopped(); err != nil {
		return 0, err
	}
	for n < len(b) && err == nil {
		p := b[n:min(len(b), n+c.piece)]
		switch err = c.s.TrySend(p); err {
		case nil:
			n += len(p)
		case ErrWouldBlock:
			_, _ = wait(context.Background(), []End{c.s})
			err = c.out.stopped()
		}
	}
	if flushed := c.s.Flush(); err == nil {
		err = flushed
	}
	return n, err
}

// Close ends both directions: the other end reads what was written, then io.EOF. Calls that wait end with
// net.ErrClosed. When it returns nothing of the Conn touches the queues' bytes any more.
func (c *Conn) Close() error {
	err := c.failed("close", errClosed)
	if c.r == nil {
		return err
	}
	c.closing.Do(func() { c.close(); err = nil })
	return err
}

func (c *Conn) close() {
	c.RemoteAddr()
	c.in.state.Store(closed)
	c.out.state.Store(closed)
	c.stop(&c.in)
	c.stop(&c.out)
	c.naming.Lock()
	c.gone = true
	c.naming.Unlock()
}

// CloseWrite ends the direction to the other end, which reads what was written, then io.EOF. Reads go on. Writes of this
// end are syscall.EPIPE from then on, one that waits too.
func (c *Conn) CloseWrite() error { return c.failed("close", c.shut(&c.out)) }

// CloseRead ends the direction from the other end, whose writes are syscall.EPIPE from then on; what it has written and
// this end has not read is dropped. Writes go on. Reads of this end are io.EOF, one that waits too.
func (c *Conn) CloseRead() error { return c.failed("close", c.shut(&c.in)) }

func (c *Conn) shut(h *half) error {
	if h.end == nil {
		return errClosed
	}
	if h.end.base().hasEnded() && h.ended() != h.shutErr {
		return errClosed
	}
	c.RemoteAddr()
	if !h.state.CompareAndSwap(open, shut) {
		if h.state.Load() == closed {
			return errClosed
		}
		return nil
	}
	c.stop(h)
	return nil
}

// stop ends a half that is not open any more: who waits there returns, the other end is told.
func (c *Conn) stop(h *half) {
	h.setting.Lock()
	if h.deadline != nil {
		h.deadline.Stop()
	}
	h.setter++
	h.interrupt()
	h.setting.Unlock()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h == &c.out {
		c.s.Detach()
		return
	}
	c.rest = nil
	c.r.Detach()
	if b := c.r.conn.bell; b != nil {
		b.Close()
	}
}

// LocalAddr is this end's Addr.
func (c *Conn) LocalAddr() net.Addr {
	if c.s == nil {
		return Addr{}
	}
	return Addr{c.s.self.Peer, true}
}

// RemoteAddr returns the other end's Addr.
func (c *Conn) RemoteAddr() net.Addr {
	c.naming.Lock()
	defer c.naming.Unlock()
	if c.s != nil && !c.remote.Known && !c.gone && !c.s.ended.Load() {
		if w, err := c.s.otherPeer(); w != 0 && err == nil && !c.s.ended.Load() {
			c.remote = Addr{shmsync.PeerOf(w), true}
		}
	}
	return c.remote
}

func (e *end) otherPeer() (w uint64, err error) {
	defer fault.Return(&err, fault.Catch())
	return e.other.user(), nil
}

// SetDeadline is SetReadDeadline and SetWriteDeadline.
func (c *Conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetReadDeadline ends present and future calls of Read at t, with an error that is
// os.ErrDeadlineExceeded; the zero time never.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.failed("set", c.in.setDeadline(t)) }

// SetWriteDeadline ends present and future calls of Write at t.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.failed("set", c.out.setDeadline(t)) }

func (c *Conn) failed(op string, err error) error {
	if err == nil {
		return nil
	}
	return &net.OpError{Op: op, Net: "mq", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}
