package dsmnet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/sys/fault"
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
