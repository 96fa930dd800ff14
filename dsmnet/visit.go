package dsmnet

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/onebit"
	"github.com/godsm/godsm/internal/waits"
	"github.com/godsm/godsm/registry"
	"github.com/godsm/godsm/resowner"
	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/shmsync"
)

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
