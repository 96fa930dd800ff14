package dsmnet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/onebit"
	"github.com/godsm/godsm/internal/sys/fault"
	"github.com/godsm/godsm/shm/mq"
	"github.com/godsm/godsm/shm/shmsync"
)

// Listen listens on the name until the listener is closed, or the session ends, or its process dies;
// ctx bounds the call alone. If a living session listens on it, this one too, the error matches
// syscall.EADDRINUSE. A name that the registry has for something else is registry.ErrMismatch, one that processes of a
// program with another layout version listen or dial on dsm.ErrVersion.
//
// Connections are taken as they come, and wait for Accept: up to 128 of them, then dialers wait.
// Close ends those that no process has accepted.
func Listen(ctx context.Context, s *dsm.Session, name string) (net.Listener, error) {
	l, err := listen(ctx, s, name)
	if over := s.Err(); over != nil {
		if l != nil {
			_ = l.Close()
		}
		err = over
	}
	if err != nil {
		return nil, opError(ctx, "listen", name, err)
	}
	return l, nil
}

const backlog = 128

type listener struct {
	*visit
	session *dsm.Session
	name    string
	conns   chan *conn
	closing sync.Once
	handled [len(port{}.places)]uint64 // what was asked and has been answered,
	answers [len(port{}.places)]uint64 // and how
	why     error                      // it accepts no more; set before conns is closed
}

func listen(ctx context.Context, s *dsm.Session, name string) (*listener, error) {
	v, err := visitPort(ctx, context.WithoutCancel(ctx), s, name, false)
	if err != nil {
		return nil, err
	}
	if err := fault.Contain(v.listen); err != nil {
		v.leavePort()
		return nil, err
	}
	failpoint.Hit("dsmnet/listen/listening")
	l := &listener{visit: v, session: s, name: name, conns: make(chan *conn, backlog)}
	go l.answerDialers()
	return l, nil
}

// listen makes this session the one that listens.
func (v *visit) listen() error {
	for {
		w, peer, is := v.listening()
		if is {
			return fmt.Errorf("%s listens: %w", v.self.Name(shmsync.PeerOf(peer)),
				os.NewSyscallError("bind", syscall.EADDRINUSE))
		}
		if v.listener.CompareAndSwap(w, onebit.Word(v.self.Word())) {
			v.answered.Broadcast() // dialers that wait for a listener
			return nil
		}
	}
}

// Accept waits for the next connection. A port whose bytes are gone is ErrCorrupt.
func (l *listener) Accept() (net.Conn, error) {
	c, ok := <-l.conns
	switch {
	case !ok:
		return nil, opError(l.ctx, "accept", l.name, l.why)
	case l.self.View.Ended(): // it came before, and is of no use
		_ = c.Close()
		return nil, opError(l.ctx, "accept", l.name, errClosed)
	}
	return c, nil
}

// Addr returns the name.
func (l *listener) Addr() net.Addr { return Addr(l.name) }

// Close ends the listening. Connections that were accepted stay.
func (l *listener) Close() error {
	err := opError(l.ctx, "close", l.name, errClosed)
	l.closing.Do(func() { err = l.owner.Abort() })
	return err
}

// answerDialers answers those who ask, until the listener is closed.
func (l *listener) answerDialers() {
	l.why = errClosed
	if err := fault.Contain(l.answerOnce); errors.Is(err, dsm.ErrCorrupt) {
		l.why = err
	}
	close(l.conns)
	for c := range l.conns {
		_ = c.Close()
	}
	l.leavePort()
}

func (l *listener) answerOnce() (err error) {
	for err == nil && l.ctx.Err() == nil {
		t := l.bell.Prepare()
		if w, peer, _ := l.listening(); peer == l.self.Word() && w != onebit.Word(peer) {
			l.listener.CompareAndSwap(w, onebit.Word(peer)) // a stray store
		}
		for i := range l.places {
			l.answerPlace(i)
		}
		err = l.sleep(l.ctx, &t, time.Second)
	}
	if w, peer, _ := l.listening(); peer == l.self.Word() {
		l.listener.CompareAndSwap(w, 0)
	}
	failpoint.Hit("dsmnet/listen/left")
	l.answered.Broadcast()
	return err
}

// answerPlace answers who asks in a place.
func (l *listener) answerPlace(i int) {
	p := &l.places[i]
	handle := p.ask.Load()
	switch {
	case handle == 0:
		return
	case handle == l.handled[i]:
		if p.answer.Load() != l.answers[i] { // a stray store
			p.answer.Store(l.answers[i])
			l.answered.Broadcast()
		}
		return
	}
	c, err := l.acceptOffer(dsm.Handle(handle))
	failpoint.Hit("dsmnet/listen/taken")
	l.handled[i], l.answers[i] = handle, handle
	if err != nil { // the dialer has gone, or it is not a dialer's
		l.answers[i] = ^handle
		p.answer.Store(^handle)
		l.answered.Broadcast()
		return
	}
	select {
	case l.conns <- c:
		p.answer.Store(handle)
		failpoint.Hit("dsmnet/listen/answered")
		l.answered.Broadcast()
	case <-l.ctx.Done():
		_ = c.Close()
	}
}

// acceptOffer makes this end of a connection that a dialer offers.
func (l *listener) acceptOffer(h dsm.Handle) (*conn, error) {
	g, err := l.session.Attach(l.ctx, l.session.Owner(), h)
	if err != nil {
		return nil, err
	}
	q, err := openConnQueues(g, mq.Attach)
	if err == nil {
		var c *conn
		if c, err = newConn(g, l.self, q[1], q[0]); err == nil {
			return c, nil
		}
	}
	return nil, errors.Join(err, g.Detach())
}
