// Package dsmnet connects processes by name over shared memory: a net.Listener and net.Conns, so
// that net/http, net/rpc and their like run unchanged.
//
//	l, err := dsmnet.Listen(ctx, session, "api")   // in one process
//	err = http.Serve(l, handler)
//
//	conn, err := dsmnet.Dial(ctx, session, "api")  // in others
//
//	d := dsmnet.Dialer{Wait: true}                 // that waits until a process listens
//	conn, err = d.Dial(ctx, session, "api")
//
// A connection can be closed for one direction: it has the methods CloseRead and CloseWrite of package net's TCPConn and
// UnixConn, so that "the request until its end, then the answer" works, and proxies do.
//
// It adds to mq.Conn that the ends find each other, and that nothing is left. The name is one of package registry's;
// what it stands for goes with the last process that has it, so a listener that was killed leaves nothing but its name,
// to be listened on again. A connection is a segment with a ring each way; it goes when both ends are closed or dead.
//
// # Deaths
//
// A dialer writes the handle of a new connection into a place at the listener's port and rings; the listener attaches
// it and writes the same handle as the answer, or its complement for no. Handles are not used again, so no answer is
// taken for another one's, and the session of the one who waits hears of the other's death:
//
//	died                              then
//	dialer, before it has asked       its connection goes with it; its place falls to the next dialer
//	dialer, after that                the listener finds nothing, or accepts a connection whose reads end with
//	                                  mq.ErrPeerDied
//	listener, before it has answered  the dialer is refused, and the connection goes with its end
//	listener, after that              the dialer's reads end with mq.ErrPeerDied
//
// Neither listener nor dialer holds a lock of the port.
package dsmnet

import (
	"context"
	"errors"
	"net"
	"os"
	"reflect"
	"structs"
	"sync/atomic"
	"time"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/onebit"
	"github.com/godsm/godsm/registry"
	"github.com/godsm/godsm/resowner"
	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/mq"
	"github.com/godsm/godsm/shm/shmsync"
)

// network is what Addr.Network says.
const network = "dsm"

// Addr is the name that is listened on.
type Addr string

// Network is "dsm".
func (Addr) Network() string { return network }

func (a Addr) String() string { return string(a) }

// DefaultRing is what each end can write before the other one reads, in bytes, unless a Dialer says otherwise: a
// little more than a unix socket takes on Linux.
const DefaultRing = 256 << 10

// port is what a name stands for. Its zero value is one that no process listens on.
type port struct {
	_        structs.HostLayout
	listener atomic.Uint64 // onebit word of a peer; 0 no process
	bell     shmsync.Cond  // a process asks; the listener waits for it
	answered shmsync.Cond  // a process was answered or has left its place, or the listener has gone; dialers wait for it
	places   [64]place
}

// place is for one dialer at a time, until it has its answer.
type place struct {
	_      structs.HostLayout
	dialer atomic.Uint64 // onebit word of a peer; 0 free. A dead session's is free too
	ask    atomic.Uint64 // the handle; 0 nothing. The dialer writes it
	answer atomic.Uint64 // what was asked, or its complement. The listener writes it
}

// portVersion is the layout version of ports and of the connections that are asked for there: it goes up with every
// change of the layout or the meaning of either, and of mq's queues.
const portVersion = 4

// visit is a port that is attached. A session's end waits for those who use it.
type visit struct {
	*port
	self  shmsync.Self
	owner *resowner.Owner
	item  resowner.Item
	ctx   context.Context
	stop  context.CancelCauseFunc
	left  chan struct{} // closed when no process touches the port any more
}

// visitPort attaches the port of that name. What is done there ends when over does.
func visitPort(ctx, over context.Context, s *dsm.Session, name string, existing bool) (*visit, error) {
	owner, err := s.Owner().Child("dsmnet " + name)
	if err != nil {
		return nil, err
	}
	v := &visit{self: s.Self(), owner: owner, left: make(chan struct{})}
	v.port, err = registry.Segment[port](ctx, s, name, nil, registry.Options{
		Owner: owner, Version: portVersion, Transient: true, Existing: existing,
	})
	if err == nil {
		v.ctx, v.stop = context.WithCancelCause(over)
		err = owner.Remember(&v.item, v) // after the segment: so released before it
	}
	if err != nil {
		return nil, errors.Join(errForeign(ctx, s, name, err), owner.Abort())
	}
	return v, nil
}

// errForeign returns err, unless that is a mismatch because the name stands for a port of another version: then it is
// ErrVersion.
func errForeign(ctx context.Context, s *dsm.Session, name string, err error) error {
	if !errors.Is(err, registry.ErrMismatch) {
		return err
	}
	list, failed := registry.List(ctx, s)
	if failed != nil {
		return err
	}
	for _, x := range list {
		if x.Name == name && x.Type == reflect.TypeFor[port]().String() && x.Version != portVersion {
			return errkind.OtherVersion("the port", x.Version, portVersion, "the processes that listen and dial there")
		}
	}
	return err
}

// errClosed is the error of what is closed, or whose session is.
var errClosed = errkind.As(dsm.ErrClosed, net.ErrClosed)

// Release waits until the port is left. The session's owner calls it.
func (v *visit) Release() error {
	v.stop(errClosed)
	<-v.left
	return nil
}

func (v *visit) String() string { return "port" }

// leavePort is called by the goroutine that uses the port, at its end.
func (v *visit) leavePort() {
	close(v.left)
	_ = v.owner.Abort()
}

// sleep waits for news since the ticket, until ctx is over, for at most d. What ends the visit is an error.
func (v *visit) sleep(ctx context.Context, t *shmsync.Ticket, d time.Duration) error {
	short, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	err := t.Sleep(short)
	switch {
	case v.ctx.Err() != nil:
		return context.Cause(v.ctx)
	case errors.Is(err, dsm.ErrClosed), errors.Is(err, shm.ErrCorrupt):
		return err
	}
	return nil
}

// listening reports whether a living session listens, and which. Word is what stands there.
func (v *visit) listening() (word, peer uint64, is bool) {
	word = v.listener.Load()
	peer = onebit.Of(word)
	return word, peer, v.peerLives(peer)
}

// peerLives reports whether there is that peer, and it is alive.
func (v *visit) peerLives(peer uint64) bool {
	p := shmsync.PeerOf(peer)
	return p.Row >= 0 && p.Row < shmsync.MaxRows && v.self.Alive(p)
}

// Conn is a connection. It is a mq.Conn whose bytes go with it.
type conn struct {
	*mq.Conn
	segment *dsm.Segment
}

// Close ends the connection: the other end reads what was written, then io.EOF.
func (c *conn) Close() error {
	err := c.Conn.Close()
	if detached := c.segment.Detach(); err == nil {
		err = detached // not both: what net.Conn answers is a net.Error
	}
	return err
}

// openQueues opens the connection's two queues, in a segment that the dialer has made, or the listener attached.
func openQueues(g *dsm.Segment, open func(shm.Region) (*mq.Queue, error)) (q [2]*mq.Queue, err error) {
	each := g.Region().Len() / 2 &^ 7
	for i := range q {
		r, err := g.Region().Sub(shm.Offset(i*each), each)
		if err != nil {
			return q, err
		}
		if q[i], err = open(r); err != nil {
			return q, err
		}
	}
	return q, nil
}

// newConn makes this end of a connection: it sends on one queue and receives on the other.
func newConn(g *dsm.Segment, self shmsync.Self, send, receive *mq.Queue) (*conn, error) {
	s, err := send.Sender(self)
	if err != nil {
		return nil, err
	}
	r, err := receive.Receiver(self)
	if err != nil {
		return nil, err
	}
	c, err := mq.NewConn(s, r)
	if err != nil {
		return nil, err
	}
	g.OnDetach(func() { _ = c.Close() }) // before the bytes go, however that comes about
	return &conn{c, g}, nil
}

// opError returns err as package net has it. Ctx is that of the call: what ended with its deadline is a timeout.
func opError(ctx context.Context, op, name string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, dsm.ErrClosed):
		err = errkind.As(net.ErrClosed, err)
	case errors.Is(err, context.DeadlineExceeded),
		errors.Is(ctx.Err(), context.DeadlineExceeded) && errors.Is(err, context.Cause(ctx)):
		err = timeout{err}
	}
	return &net.OpError{Op: op, Net: network, Addr: Addr(name), Err: err}
}

// timeout is an error of which net.OpError knows that it is one.
type timeout struct{ error }

func (t timeout) Unwrap() error        { return t.error }
func (t timeout) Is(target error) bool { return target == os.ErrDeadlineExceeded }
func (timeout) Timeout() bool          { return true }
func (timeout) Temporary() bool        { return true }
