package dsmnet

import (
	"context"
	"errors"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/fault"
	"github.com/godsm/godsm/internal/onebit"
	"github.com/godsm/godsm/shm/mq"
	"github.com/godsm/godsm/shm/shmsync"
)

// refused is the error of a dial to a name that nobody listens on.
var refused = os.NewSyscallError("connect", syscall.ECONNREFUSED)

// Dial connects to who listens on the name, and waits until the connection is his, not for his Accept. If nobody
// does, or he closes or dies meanwhile, the error matches syscall.ECONNREFUSED; a listener that is stopped is waited
// for until ctx is over; a port of another layout version is dsm.ErrVersion. The connection lasts until it is closed or the session ends; its addresses are mq.Addr.
func Dial(ctx context.Context, s *dsm.Session, name string) (net.Conn, error) {
	c, err := dial(ctx, s, name)
	if over := s.Err(); over != nil { // then a refusal may be that of its own listener, which has ended too
		if c != nil {
			_ = c.Close()
		}
		err = over
	}
	if err != nil {
		return nil, fail("dial", name, err)
	}
	return c, nil
}

func dial(ctx context.Context, s *dsm.Session, name string) (c *conn, err error) {
	v, err := enter(ctx, ctx, s, name, true)
	if errors.Is(err, dsm.ErrNotFound) {
		return nil, refused
	}
	if err != nil {
		return nil, err
	}
	defer v.leave()
	err = fault.Contain(func() error {
		c, err = v.dial(ctx, s)
		return err
	})
	return c, err
}

func (v *visit) dial(ctx context.Context, s *dsm.Session) (c *conn, err error) {
	_, listener, is := v.listening()
	if !is {
		return nil, refused
	}
	g, err := s.Create(ctx, s.Owner(), 2*mq.Size(ring))
	if err != nil {
		return nil, err
	}
	done := false
	defer func() { // also after a fault
		if !done {
			err = errors.Join(err, g.Detach())
		}
	}()
	if c, err = offer(g, v.self, shmsync.PeerOf(listener)); err != nil {
		return nil, err
	}
	failpoint.Hit("dsmnet/dial/made")
	if err = v.knock(listener, uint64(g.Handle())); err != nil {
		return nil, err
	}
	done = true
	return c, nil
}

// offer makes the connection's bytes and this end. The other one is named, so that its death ends
// a wait before it has come.
func offer(g *dsm.Segment, self shmsync.Self, listener shmsync.Peer) (*conn, error) {
	q, err := queues(g, mq.Create)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(q[0].SetReceiver(listener), q[1].SetSender(listener)); err != nil {
		return nil, err
	}
	return connect(g, self, q[0], q[1])
}

// Whoever waits looks again when it is told, and from time to time without: the other one may have died.
const (
	minPatience = time.Millisecond
	maxPatience = 16 * time.Millisecond
)

// knock asks the listener to take a connection, and waits for the answer.
func (v *visit) knock(listener, handle uint64) error {
	p, err := v.place(listener)
	if err != nil {
		return err
	}
	defer func() {
		p.ask.Store(0)
		failpoint.Hit("dsmnet/dial/answered")
		p.dialer.Store(0)
		v.answered.Broadcast() // who waits for a place
	}()
	failpoint.Hit("dsmnet/dial/placed")
	p.ask.Store(handle)
	failpoint.Hit("dsmnet/dial/asked")
	v.bell.Broadcast()
	return v.until(listener, func() (bool, error) {
		switch p.answer.Load() {
		case handle:
			return true, nil
		case ^handle:
			return true, refused
		}
		if p.ask.Load() != handle { // a stray store
			p.ask.Store(handle)
			v.bell.Broadcast()
		}
		return false, nil
	})
}

// place takes a free place at the port.
func (v *visit) place(listener uint64) (p *place, err error) {
	me := v.self.Word()
	err = v.until(listener, func() (bool, error) {
		for i := range v.places {
			p = &v.places[i]
			w := p.dialer.Load()
			if peer := onebit.Of(w); peer != me && !v.lives(peer) && p.dialer.CompareAndSwap(w, onebit.Word(me)) {
				return true, nil
			}
		}
		return false, nil
	})
	return p, err
}

// until waits until f is done, as long as the listener is there.
func (v *visit) until(listener uint64, f func() (done bool, err error)) error {
	for patience := minPatience; ; patience = min(2*patience, maxPatience) {
		t := v.answered.Prepare()
		if done, err := f(); done {
			return err
		}
		if _, peer, is := v.listening(); !is || peer != listener {
			if done, err := f(); done { // he answered before he went
				return err
			}
			return refused
		}
		if err := v.sleep(&t, patience); err != nil {
			return err
		}
	}
}
