package mq

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/sys/fault"
	"github.com/godsm/godsm/shm/shmsync"
)

// Conn: a pair of queues as a net.Conn.
//
// It adds to Sender and Receiver what net.Conn promises: concurrent calls, deadlines, a stream without borders of
// messages, the errors of package net. A Read takes what is left of a message; a Write is one message or several, and
// is published when it returns. Conn does not promise what a socket's kernel does for it: after a death of this
// process what was written and not published is lost, and the other end learns of the death by its session.
//
// Mutexes: a half's mu for the time of a Read or Write, then naming for a moment; a half's setting is apart. A Write
// takes the other half's mu too, for a moment, if it is free.

// Addr names one end of a Conn. Its text is the session's row and incarnation, or "?" if no session has been named or
// has attached there yet.
type Addr struct {
	// Peer is the session; it means nothing unless Known.
	Peer shmsync.Peer
	// Known is true once the session is known.
	Known bool
}

// Network returns "mq".
func (Addr) Network() string { return "mq" }

func (a Addr) String() string {
	if !a.Known {
		return "?"
	}
	return a.Peer.String()
}

// Conn is a stream of bytes both ways over a pair of queues: a net.Conn, with deadlines, so that what works over
// sockets works over shared memory. Each Write is published and wakes the reader. Its methods are safe for concurrent
// use; two calls of Read, or of Write, go one after the other.
//
// Read returns io.EOF after the other end's Close or CloseWrite, and ErrPeerDied after its process's death, in all
// cases after what it had written. Write fails with syscall.EPIPE and io.ErrClosedPipe after the other end's Close or
// CloseRead. When the segment is detached under it, or the session closed, the Conn is closed: calls end with an
// error that matches net.ErrClosed and ErrClosed. A truncated segment is ErrCorrupt. All errors but io.EOF are a
// *net.OpError. The zero Conn is closed.
type Conn struct {
	// in and out are the two directions; r and s are their ends.
	in  half
	out half
	r   *Receiver
	s   *Sender

	// rest is what is left of the message that is being read, in place or copied. It is guarded by in.mu.
	rest []byte
	// piece is how many bytes of a Write become one message at most: with its length at most a quarter of the ring,
	// so that the reader can take one while the next is being written, and at most 1 MiB.
	piece int

	// closing makes Close end the Conn once.
	closing sync.Once

	// naming guards the two fields below.
	naming sync.Mutex
	// remote is the other end, once it is known.
	remote Addr
	// gone is true once the bytes may be unmapped: Close has returned.
	gone bool
}

// minRing is the length in bytes of the smallest ring for a Conn: a quarter of it has room for a message of a word.
const minRing = 64

// NewConn makes a connection of the end that sends on one queue and the end that receives on another one. It uses
// them from then on, until Close, which detaches both. It does not wait for the other end. Rings of less than 64
// bytes are ErrSize. On Linux the first Read that waits takes a descriptor, for a socket that wakes it; without one
// it sleeps as a Receiver does.
func NewConn(s *Sender, r *Receiver) (c *Conn, err error) {
	if s.size < minRing || r.size < minRing {
		return nil, errkind.As(ErrSize,
			fmt.Errorf("a connection wants rings of %d bytes or more, these are %d and %d", minRing, s.size, r.size))
	}
	c = &Conn{r: r, s: s, piece: int(min(s.size/4, 1<<20)&^(word-1)) - word}
	c.in.end, c.in.shutErr = r, io.EOF
	c.out.end, c.out.shutErr = s, errPipe
	s.conn, r.conn = &forConn{}, &forConn{}
	defer r.answer(&err)
	if err := r.errIfUnusable(); err != nil {
		return nil, err
	}
	return c, nil
}

var (
	// errClosed is the error of a Conn that is closed.
	errClosed = errkind.As(ErrClosed, net.ErrClosed)
	// errPipe is the error of a Write that nothing will read.
	errPipe = errkind.As(io.ErrClosedPipe, syscall.EPIPE)
)

// publishReadLocked tells the other end how far this one has read, before a Write waits: the other end may wait for that
// room itself, in a Write. A Read in flight does it when it waits. The caller holds out.mu and catches faults. It does
// not wait: it takes in.mu only if that is free.
func (c *Conn) publishReadLocked() {
	if !c.in.mu.TryLock() {
		return
	}
	defer c.in.mu.Unlock()
	if c.r.errIfUnusable() != nil {
		return
	}
	if len(c.rest) == 0 {
		c.r.releaseMessage()
	}
	if c.r.read != c.r.published {
		c.r.publish(c.r.read)
	}
}

// Read reads what is there, at least one byte unless len(b) is 0, and waits for it until the deadline. Once the other
// end's process has died the error matches ErrPeerDied and, as with sockets, syscall.ECONNRESET. It copies.
func (c *Conn) Read(b []byte) (int, error) {
	if c.r == nil {
		return 0, c.opError("read", errClosed)
	}
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
	n, err := c.readLocked(b)
	switch {
	case c.r.hasEnded():
		err = c.in.ended()
	case err == nil:
		return n, nil
	case errors.Is(err, ErrPeerDied):
		err = errkind.As(syscall.ECONNRESET, err)
	case errors.Is(err, ErrDetached):
		err = io.EOF
	}
	if err == io.EOF {
		return 0, io.EOF
	}
	return 0, c.opError("read", err)
}

// readLocked does for Read what may meet a fault. The caller holds in.mu.
func (c *Conn) readLocked(b []byte) (n int, err error) {
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
			if err := c.hangBellLocked(); err != nil {
				return 0, err
			}
			// The wait has no error that counts: stopped and TryReceive find out why it has ended.
			_, _ = wait(context.Background(), []End{c.r})
		default:
			return 0, err
		}
	}
}

// Write writes all of b, and waits for room until the deadline. It may have written a part when that is over. It
// copies b, and is published when Write returns.
func (c *Conn) Write(b []byte) (n int, err error) {
	if c.s == nil {
		return 0, c.opError("write", errClosed)
	}
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	n, err = c.writeLocked(b)
	switch {
	case c.s.hasEnded():
		err = c.out.ended()
	case errors.Is(err, ErrPeerDied):
		err = errkind.As(syscall.ECONNRESET, err)
	case errors.Is(err, ErrDetached):
		err = errkind.As(errPipe, err)
	}
	return n, c.opError("write", err)
}

// writeLocked does for Write what may meet a fault. The caller holds out.mu.
func (c *Conn) writeLocked(b []byte) (n int, err error) {
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
			c.publishReadLocked()
			_, _ = wait(context.Background(), []End{c.s})
			err = c.out.stopped()
		}
	}
	// Also after an error: what was written counts, as n says.
	if flushed := c.s.Flush(); err == nil {
		err = flushed
	}
	return n, err
}

// Close ends both directions: the other end reads what was written, then io.EOF. Calls that wait end with
// net.ErrClosed, and Close waits for them. When it returns nothing of the Conn touches the queues' bytes any more. A
// second Close is net.ErrClosed.
func (c *Conn) Close() error {
	err := c.opError("close", errClosed)
	if c.r == nil {
		return err
	}
	c.closing.Do(func() { c.close(); err = nil })
	return err
}

// close does the work of Close, once.
func (c *Conn) close() {
	// The name of the other end is asked for while the bytes are there: errors have it later.
	c.RemoteAddr()
	// Both halves are closed before the first is stopped, so a call that ends in one direction finds the other closed
	// as well.
	c.in.state.Store(closed)
	c.out.state.Store(closed)
	c.stopHalf(&c.in)
	c.stopHalf(&c.out)
	c.naming.Lock()
	c.gone = true
	c.naming.Unlock()
}

// CloseWrite ends the direction to the other end, which reads what was written, then io.EOF. Reads go on. Writes of
// this end fail with syscall.EPIPE from then on, one that waits too. A second call is harmless.
func (c *Conn) CloseWrite() error { return c.opError("close", c.shutHalf(&c.out)) }

// CloseRead ends the direction from the other end, whose writes fail with syscall.EPIPE from then on; what it has
// written and this end has not read is dropped. Writes go on. Reads of this end return io.EOF, one that waits too. A
// second call is harmless.
func (c *Conn) CloseRead() error { return c.opError("close", c.shutHalf(&c.in)) }

// shutHalf shuts one direction, unless it is shut already. A Conn that is closed, or whose view has ended, is errClosed.
func (c *Conn) shutHalf(h *half) error {
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
	c.stopHalf(h)
	return nil
}

// stopHalf ends a half that is not open any more: a call that waits there returns, and the other end is told. It waits
// for that call, and may be called twice.
func (c *Conn) stopHalf(h *half) {
	h.setting.Lock()
	if h.deadline != nil {
		h.deadline.Stop()
	}
	// The timer of a deadline that is just firing does nothing from here on.
	h.setter++
	h.interrupt()
	h.setting.Unlock()
	// The call that waited has been interrupted; when it is out, the end is the caller's.
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

// LocalAddr returns this end's Addr.
func (c *Conn) LocalAddr() net.Addr {
	if c.s == nil {
		return Addr{}
	}
	return Addr{c.s.self.Peer, true}
}

// RemoteAddr returns the other end's Addr: the session that attached to the queue on which this end sends, or that
// SetReceiver has named. It is remembered, so it is known after Close too.
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

// SetDeadline sets the deadlines of Read and Write.
func (c *Conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetReadDeadline ends present and future calls of Read at t, with an error that is os.ErrDeadlineExceeded. The zero
// time takes the deadline away.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.opError("set", c.in.setDeadline(t)) }

// SetWriteDeadline ends present and future calls of Write at t, as SetReadDeadline does those of Read.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.opError("set", c.out.setDeadline(t)) }

// opError returns err as the *net.OpError of an operation, with both addresses; nil if err is nil.
func (c *Conn) opError(op string, err error) error {
	if err == nil {
		return nil
	}
	return &net.OpError{Op: op, Net: "mq", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}
