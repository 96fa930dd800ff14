package dsmnet_test

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/godsm/godsm/area"
	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/dsmnet"
	"github.com/godsm/godsm/internal/catalog"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/registry"
	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/dsa"
	"github.com/godsm/godsm/shm/mq"
)

// closedBoth checks the error of what is closed with its session.
func closedBoth(t *testing.T, what string, err error) {
	t.Helper()
	if !errors.Is(err, net.ErrClosed) || !errors.Is(err, dsm.ErrClosed) {
		t.Errorf("%s = %v, want net.ErrClosed and dsm.ErrClosed", what, err)
	}
}

// TestAfterClose: of a session that has closed each call says so, also those that have waited.
func TestAfterClose(t *testing.T) {
	for _, checked := range []string{"off", "on"} {
		cfg := instancetest.Config(t, catalog.Default(), "checked", checked)
		instancetest.Start(t, cfg)
		s, other := instancetest.Open(t, cfg), instancetest.Open(t, cfg)
		l, theirs := listen(t, s, "mine"), listen(t, other, "theirs")
		c := dial(t, s, "theirs")
		their := accept(t, theirs)
		var wg sync.WaitGroup
		wg.Go(func() { _, err := l.Accept(); closedBoth(t, "Accept that waits", err) })
		wg.Go(func() { _, err := c.Read(make([]byte, 9)); closedBoth(t, "Read that waits", err) })
		wg.Go(func() { _, err := c.Write(make([]byte, 1<<20)); closedBoth(t, "Write that waits", err) })
		_, err := io.ReadFull(their, make([]byte, 100)) // the Write is under way
		is(t, "read", err, nil)
		is(t, "close", s.Close(), nil)
		wg.Wait()
		_, err = c.Read(make([]byte, 9))
		closedBoth(t, "Read", err)
		_, err = c.Write(make([]byte, 9))
		closedBoth(t, "Write", err)
		closedBoth(t, "SetDeadline", c.SetDeadline(time.Now()))
		_, err = l.Accept()
		closedBoth(t, "Accept", err)
		_, err = dsmnet.Dial(ctx, s, "theirs")
		closedBoth(t, "Dial", err)
		_, err = dsmnet.Listen(ctx, s, "x")
		closedBoth(t, "Listen", err)
		_, _ = c.RemoteAddr().String(), l.Addr().String()
		_, _ = c.Close(), l.Close()
		if _, err = io.Copy(io.Discard, their); err != nil {
			t.Errorf("the other end, which lives, reads %v", err)
		}
		is(t, "close", errors.Join(their.Close(), theirs.Close(), other.Close()), nil)
		instancetest.OnlyRoot(t, cfg)
	}
}

// TestNotOpened: a Session that was not opened is as one that has ended.
func TestNotOpened(t *testing.T) {
	var s dsm.Session
	_, err := dsmnet.Dial(ctx, &s, "x")
	closedBoth(t, "Dial", err)
	_, err = dsmnet.Listen(ctx, &s, "x")
	closedBoth(t, "Listen", err)
	if _, err := area.Create(ctx, &s, s.Owner(), dsa.Options{}); !errors.Is(err, dsm.ErrClosed) {
		t.Errorf("an area = %v", err)
	}
	if self := s.Self(); !self.View.Ended() || !self.Alive(self.Peer) || !errors.Is(s.Err(), dsm.ErrClosed) {
		t.Errorf("the session: %v", s.Err())
	}
}

// TestDialWhileSessionCloses: a session that dials itself is not refused by its own listener, which ends first, but told
// that it has ended.
func TestDialWhileSessionCloses(t *testing.T) {
	cfg := instancetest.Config(t, catalog.Default())
	instancetest.Start(t, cfg)
	for range 100 {
		s := instancetest.Open(t, cfg)
		l := listen(t, s, "self")
		var wg sync.WaitGroup
		dialed := make(chan struct{}, 1)
		for range 4 {
			wg.Go(func() {
				for {
					c, err := dsmnet.Dial(ctx, s, "self")
					if err != nil {
						closedBoth(t, "Dial", err)
						return
					}
					_ = c.Close()
					select {
					case dialed <- struct{}{}:
					default:
					}
				}
			})
		}
		wg.Go(func() {
			for {
				c, err := l.Accept()
				if err != nil {
					closedBoth(t, "Accept", err)
					return
				}
				_ = c.Close()
			}
		})
		<-dialed
		is(t, "close", s.Close(), nil)
		wg.Wait()
	}
}

// TestCloseOfListenerWhileSessionCloses, and while others dial: nothing faults or hangs, and the next one listens.
func TestCloseOfListenerWhileSessionCloses(t *testing.T) {
	cfg := instancetest.Config(t, catalog.Default())
	instancetest.Start(t, cfg)
	other := instancetest.Open(t, cfg)
	rounds := 60
	if testing.Short() {
		rounds = 15
	}
	for range rounds {
		s := instancetest.Open(t, cfg)
		l := listen(t, s, "x")
		var wg sync.WaitGroup
		var dialed atomic.Int64
		for range 2 {
			wg.Go(func() {
				for {
					c, err := dsmnet.Dial(ctx, other, "x")
					if err != nil {
						is(t, "dial", err, syscall.ECONNREFUSED)
						return
					}
					dialed.Add(1)
					_, _ = c.Write([]byte("hello"))
					_ = c.Close()
				}
			})
		}
		wg.Go(func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				_ = c.Close()
			}
		})
		for dialed.Load() < 3 {
			time.Sleep(100 * time.Microsecond)
		}
		wg.Go(func() { _ = l.Close() })
		wg.Go(func() { is(t, "close", s.Close(), nil) })
		wg.Wait()
	}
	is(t, "close", other.Close(), nil)
	instancetest.OnlyRoot(t, cfg)
}

// TestEveryBitOfAPort: whichever bit of a port's words a stray store has changed, the next dial gets through.
func TestEveryBitOfAPort(t *testing.T) {
	cfg := instancetest.Config(t, catalog.Default())
	instancetest.Start(t, cfg)
	s, other := instancetest.Open(t, cfg), instancetest.Open(t, cfg)
	l := listen(t, s, "x")
	port, err := portOf(other)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.Close()
		}
	}()
	for bit := range 64 * 5 { // listener, bell and answered, and the first place
		at := &port[bit/64]
		for v := at.Load(); !at.CompareAndSwap(v, v^1<<(bit%64)); v = at.Load() {
		}
		c, err := dsmnet.Dial(ctx, other, "x")
		if err != nil {
			t.Fatalf("bit %d: %v", bit, err)
		}
		_ = c.Close()
		if _, err = dsmnet.Listen(ctx, other, "x"); !errors.Is(err, syscall.EADDRINUSE) {
			t.Fatalf("bit %d: another one's Listen = %v", bit, err)
		}
	}
	is(t, "close", l.Close(), nil)
}

// TestTruncated: a port and a connection whose bytes are gone are ErrCorrupt, and no end of the process.
func TestTruncated(t *testing.T) {
	cfg := instancetest.Config(t, catalog.Default())
	instancetest.Start(t, cfg)
	s, other := instancetest.Open(t, cfg), instancetest.Open(t, cfg)
	l := listen(t, s, "x")
	c := dial(t, other, "x")
	their := accept(t, l)
	root, err := s.Root(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	list, err := s.Segments(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range list {
		if g.Handle == root.Handle() {
			continue
		}
		if err := os.Truncate(g.OSName, 0); err != nil {
			t.Skip("skipped: the backend's objects can't be truncated here: ", err)
		}
	}
	for _, c := range []net.Conn{c, their} {
		_, err = c.Read(make([]byte, 9))
		is(t, "read", err, mq.ErrCorrupt)
		_, err = c.Write(make([]byte, 9))
		is(t, "write", err, mq.ErrCorrupt)
		_, _ = c.LocalAddr().String(), c.RemoteAddr().String()
		_ = c.SetDeadline(time.Now())
		_ = c.Close()
	}
	_, err = l.Accept()
	is(t, "accept", err, dsm.ErrCorrupt)
	_, err = dsmnet.Dial(ctx, other, "x")
	if err == nil {
		t.Error("a dial to a port that is gone succeeds")
	}
	_ = l.Close()
	if err := registry.Delete(ctx, other, "x"); err != nil {
		is(t, "delete", err, registry.ErrNotFound) // it may have gone with the last who had it attached
	}
	l = listen(t, other, "x")
	is(t, "close", errors.Join(dial(t, s, "x").Close(), l.Close(), s.Close(), other.Close()), nil)
	instancetest.OnlyRoot(t, cfg)
}

// portWords is a port's bytes, under the name that it has in the registry.
type portWords [1552 / 8]atomic.Uint64

// portOf finds the port of the one name that there is.
func portOf(s *dsm.Session) (*portWords, error) {
	names, err := registry.List(ctx, s)
	if err != nil {
		return nil, err
	}
	g, err := s.Attach(ctx, s.Owner(), names[0].Handle)
	if err != nil {
		return nil, err
	}
	return shm.At[portWords](g.Region(), 0)
}

// TestTalkWhileSessionCloses closes a session while it talks to itself and to another session: calls of its own ends
// answer ErrClosed, and not io.EOF for a connection that neither end has closed. The other session's ends may read
// io.EOF.
func TestTalkWhileSessionCloses(t *testing.T) {
	cfg := instancetest.Config(t, catalog.Default())
	instancetest.Start(t, cfg)
	other := instancetest.Open(t, cfg)
	theirs := listen(t, other, "theirs")
	go echoing(theirs)
	rounds := 100
	if testing.Short() {
		rounds = 20
	}
	for range rounds {
		s := instancetest.Open(t, cfg)
		mine := listen(t, s, "mine")
		var wg sync.WaitGroup
		var talked atomic.Int64
		for _, name := range []string{"mine", "mine", "theirs"} {
			wg.Go(func() {
				for {
					c, err := dsmnet.Dial(ctx, s, name)
					if err != nil {
						closedBoth(t, "Dial", err)
						return
					}
					if _, err = c.Write([]byte("hello")); err == nil {
						_, err = io.ReadFull(c, make([]byte, 5))
					}
					_ = c.Close()
					if err != nil {
						closedBoth(t, "talk to "+name, err)
						return
					}
					talked.Add(1)
				}
			})
		}
		for range 2 {
			wg.Go(func() {
				for {
					c, err := mine.Accept()
					if err != nil {
						closedBoth(t, "Accept", err)
						return
					}
					b := make([]byte, 5)
					if _, err = io.ReadFull(c, b); err == nil {
						if _, err = c.Write(b); err == nil {
							_, err = c.Read(b) // until the dialer closes
						}
					}
					_ = c.Close()
					if err != io.EOF {
						closedBoth(t, "what was accepted", err)
						return
					}
				}
			})
		}
		for talked.Load() < 3 {
			time.Sleep(50 * time.Microsecond)
		}
		is(t, "close", s.Close(), nil)
		wg.Wait()
	}
	is(t, "close", errors.Join(theirs.Close(), other.Close()), nil)
}

// echoing writes back what connections say, until the listener is closed.
func echoing(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			_, _ = io.Copy(c, c)
			_ = c.Close()
		}()
	}
}
