package dsmnet

import (
	"errors"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/mq"
	"github.com/godsm/godsm/shm/shmsync"
)

// Conn is a connection. It is a mq.Conn whose bytes go with it.
type conn struct {
	*mq.Conn
	segment *dsm.Segment
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

// Close ends the connection: the other end reads what was written, then io.EOF.
func (c *conn) Close() error {
	err := c.Conn.Close()
	if detached := c.segment.Detach(); err == nil {
		err = detached // not both: what net.Conn answers is a net.Error
	}
	return err
}

// openConnQueues opens the connection's two queues, in a segment that the dialer has made, or the listener attached.
func openConnQueues(g *dsm.Segment, open func(shm.Region) (*mq.Queue, error)) (q [2]*mq.Queue, err error) {
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

// offerConn makes the connection's bytes and this end. The other one is named, so that its death ends
// a wait before it has come.
func offerConn(g *dsm.Segment, self shmsync.Self, listener shmsync.Peer) (*conn, error) {
	q, err := openConnQueues(g, mq.Create)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(q[0].SetReceiver(listener), q[1].SetSender(listener)); err != nil {
		return nil, err
	}
	return newConn(g, self, q[0], q[1])
}
