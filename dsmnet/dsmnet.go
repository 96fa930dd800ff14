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
	"net"
	"structs"
	"sync/atomic"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/errkind"
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

// errClosed is the error of what is closed, or whose session is.
var errClosed = errkind.As(dsm.ErrClosed, net.ErrClosed)
