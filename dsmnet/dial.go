package dsmnet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/onebit"
	"github.com/godsm/godsm/internal/sys/fault"
	"github.com/godsm/godsm/internal/waits"
	"github.com/godsm/godsm/shm/mq"
	"github.com/godsm/godsm/shm/shmsync"
)

// refused is the error of a dial to a name that no process listens on.
var refused = os.NewSyscallError("connect", syscall.ECONNREFUSED)

// Dialer has the options of a dial. The zero value dials as Dial does. It may be used by several goroutines.
type Dialer struct {
	// Ring is what each end can write before the other one reads, in bytes: 0 is DefaultRing, and less than 64 or more
	// than 1 GiB is ErrSize. The connection's segment takes twice that, and is reserved when it is made.
	Ring int
	// Wait makes Dial wait until a session listens on the name, or ctx is over, where it would be ECONNREFUSED.
	Wait bool
}

// Dial connects to the session that listens on the name, and waits until the connection is there, not for its Accept.
// If no session does, or the listener closes or dies meanwhile, the error matches syscall.ECONNREFUSED; a listener that
// is stopped is waited for until ctx is over; a port of another layout version is dsm.ErrVersion. An error because of a
// deadline of ctx says Timeout. The connection lasts until it is closed or the session ends; its addresses are mq.Addr.
func Dial(ctx context.Context, s *dsm.Session, name string) (net.Conn, error) {
	return Dialer{}.Dial(ctx, s, name)
}

// Dial is Dial with d's options.
func (d Dialer) Dial(ctx context.Context, s *dsm.Session, name string) (net.Conn, error) {
	c, err := d.dial(ctx, s, name)
	if over := s.Err(); over != nil { // then a refusal may be that of its own listener, which has ended too
		if c != nil {
			_ = c.Close()
		}
		err = over
	}
	if err != nil {
		return nil, opError(ctx, "dial", name, err)
	}
	return c, nil
}

func (d Dialer) dial(ctx context.Context, s *dsm.Session, name string) (c *conn, err error) {
	if d.Ring == 0 {
		d.Ring = DefaultRing
	}
	if d.Ring < minRing || d.Ring > maxRing {
		return nil, errkind.As(dsm.ErrSize,
			fmt.Errorf("a ring of %d bytes: it must have %d to %d", d.Ring, minRing, maxRing))
	}
	v, err := visitPort(ctx, ctx, s, name, !d.Wait)
	if errors.Is(err, dsm.ErrNotFound) {
		return nil, refused
	}
	if err != nil {
		return nil, err
	}
	defer v.leavePort()
	err = fault.Contain(func() error {
		for {
			c, err = v.dial(ctx, s, d.Ring)
			if !d.Wait || !errors.Is(err, refused) {
				return err
			}
			if err := v.waitForListener(); err != nil {
				return err
			}
		}
	})
	return c, err
}

// The sizes of a ring.
const (
	minRing = 64
	maxRing = 1 << 30
)

// waitForListener waits until a process listens.
func (v *visit) waitForListener() error {
	for {
		t := v.answered.Prepare()
		if _, _, is := v.listening(); is {
			return nil
		}
		if err := v.sleep(v.ctx, &t, time.Second); err != nil { // a second: a stray store may have lost the news
			return err
		}
	}
}

func (v *visit) dial(ctx context.Context, s *dsm.Session, ring int) (c *conn, err error) {
	_, listener, is := v.listening()
	if !is {
		return nil, refused
	}
	g, err := s.Create(ctx, s.Owner(), 2*mq.Size((ring+7)&^7))
	if err != nil {
		return nil, err
	}
	done := false
	defer func() { // also after a fault
		if !done {
			if detached := g.Detach(); err == nil {
				err = detached
			}
		}
	}()
	if c, err = offerConn(g, v.self, shmsync.PeerOf(listener)); err != nil {
		return nil, err
	}
	failpoint.Hit("dsmnet/dial/made")
	if err = v.askForConn(listener, uint64(g.Handle())); err != nil {
		return nil, err
	}
	done = true
	return c, nil
}

// offerConn makes the connection's bytes and this end. The other one is named, so that its death ends
// a wait before it has come.
func offerConn(g *dsm.Segment, self shmsync.Self, listener shmsync.Peer) (*conn, error) {
	q, err := openQueues(g, mq.Create)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(q[0].SetReceiver(listener), q[1].SetSender(listener)); err != nil {
		return nil, err
	}
	return newConn(g, self, q[0], q[1])
}

// askForConn asks the listener to take a connection, and waits for the answer.
func (v *visit) askForConn(listener, handle uint64) error {
	p, err := v.takePlace(listener)
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
	return v.waitWhileListening(listener, func() (bool, error) {
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

// takePlace takes a free place at the port.
func (v *visit) takePlace(listener uint64) (p *place, err error) {
	me := v.self.Word()
	err = v.waitWhileListening(listener, func() (bool, error) {
		for i := range v.places {
			p = &v.places[i]
			w := p.dialer.Load()
			if peer := onebit.Of(w); peer != me && !v.peerLives(peer) && p.dialer.CompareAndSwap(w, onebit.Word(me)) {
				return true, nil
			}
		}
		return false, nil
	})
	return p, err
}

// waitWhileListening waits until f is done, as long as the listener is there.
func (v *visit) waitWhileListening(listener uint64, f func() (done bool, err error)) error {
	wait := waits.Wait{Waits: v.self.Waits}
	defer wait.End()
	for {
		t := v.answered.Prepare()
		if done, err := f(); done {
			return err
		}
		if _, peer, is := v.listening(); !is || peer != listener {
			if done, err := f(); done { // it answered before it went
				return err
			}
			return refused
		}
		var err error
		wait.Sleep(v.ctx, func(ctx context.Context, d time.Duration) { err = v.sleep(ctx, &t, d) }, listener)
		if err != nil {
			if v.ctx.Err() != nil && !v.self.View.Ended() {
				err = fmt.Errorf("%s listens and does not answer: %w", v.self.Name(shmsync.PeerOf(listener)), err)
			}
			return err
		}
	}
}
