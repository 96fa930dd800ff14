package dsmnet_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/dsmnet"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/internal/testing/proctest"
	"github.com/godsm/godsm/registry"
	"github.com/godsm/godsm/shm/shmsync"
	"github.com/godsm/godsm/supervisor"
)

func init() {
	proctest.Register("supervises", func(c *proctest.Child) error {
		sup, err := supervisor.Start(ctx, dsm.Config{Dir: c.Args[0]})
		if err != nil {
			return err
		}
		c.Say("supervises")
		c.Hear()
		return sup.Stop()
	})
	proctest.Register("holds", holds)
}

// shared is what the processes of TestDeathIsHeard share besides a connection.
type shared struct {
	Lock, Read shmsync.LWLockWord
	Latch      shmsync.LatchWord
	Barrier    shmsync.BarrierWord
}

// holds does what another session may wait for in any way, until it hears a line: DIR.
func holds(c *proctest.Child) error {
	s, err := dsm.Open(ctx, dsm.Config{Dir: c.Args[0]})
	if err != nil {
		return err
	}
	if _, err := dsmnet.Listen(ctx, s, "api"); err != nil {
		return err
	}
	v, err := registry.Segment[shared](ctx, s, "shared", nil)
	if err != nil {
		return err
	}
	self := s.Self()
	if _, err := shmsync.NewLWLock(&v.Lock, self).Lock(ctx); err != nil {
		return err
	}
	if _, err := shmsync.NewLWLock(&v.Read, self).RLock(ctx); err != nil {
		return err
	}
	if _, err := shmsync.NewBarrier(&v.Barrier, self).Attach(); err != nil {
		return err
	}
	c.Say("%d %d", self.Row, self.Incarnation)
	c.Hear()
	return s.Close()
}

// waits begins every kind of wait for the session that holds. Each says its name when it is over, and what is wrong.
func waits(t *testing.T, s *dsm.Session, holder shmsync.Peer) (over chan string, n int) {
	v, err := registry.Segment[shared](ctx, s, "shared", nil)
	is(t, "the names", err, nil)
	self := s.Self()
	over = make(chan string, 10)
	begin := func(name string, f func() error) {
		n++
		go func() {
			if err := f(); err != nil {
				name = fmt.Sprintf("%s (%v)", name, err)
			}
			over <- name
		}()
	}
	failed := func(err error) error { // as it must
		if err == nil {
			return fmt.Errorf("succeeded")
		}
		return nil
	}
	reads, writes := dial(t, s, "api"), dial(t, s, "api")
	begin("a reader", func() error { _, err := reads.Read(make([]byte, 1)); return failed(err) })
	begin("a writer", func() error { _, err := writes.Write(make([]byte, 1<<20)); return failed(err) })
	begin("a locker", func() error {
		g, err := shmsync.NewLWLock(&v.Lock, self).Lock(ctx)
		if err == nil && !g.Abandoned() {
			err = fmt.Errorf("it is not abandoned")
		}
		return err
	})
	begin("one that waits for readers", func() error {
		_, err := shmsync.NewLWLock(&v.Read, self).Lock(ctx)
		return err
	})
	latch := shmsync.NewLatch(&v.Latch, self)
	is(t, "own", latch.Own(), nil)
	begin("an owner of a latch", func() error { return failed(latch.Wait(ctx, holder)) })
	barrier := shmsync.NewBarrier(&v.Barrier, self)
	_, err = barrier.Attach()
	is(t, "attach", err, nil)
	begin("one at a barrier", func() error { _, err := barrier.ArriveAndWait(ctx); return err })
	return over, n
}

// TestDeathIsHeard kills a session that others wait for in every way: each wait ends, whatever happens to the
// supervisor.
func TestDeathIsHeard(t *testing.T) {
	for _, way := range []string{"supervised", "the supervisor is stopped", "the supervisor is dead", "the session closes"} {
		t.Run(way, func(t *testing.T) {
			cfg := dsm.Config{Dir: instancetest.Config(t, "posix").Dir, Logger: instancetest.Logger(t)}
			sup := proctest.Start(t, "supervises", cfg.Dir)
			sup.Expect("supervises")
			s := instancetest.Open(t, cfg)
			h := proctest.Start(t, "holds", cfg.Dir)
			var holder shmsync.Peer
			_, err := fmt.Sscan(h.Expect(""), &holder.Row, &holder.Incarnation)
			is(t, "the holder's name", err, nil)
			over, n := waits(t, s, holder)
			switch way {
			case "the supervisor is stopped":
				is(t, "stop", sup.Stop(), nil)
			case "the supervisor is dead":
				sup.Kill()
			}
			time.Sleep(50 * time.Millisecond) // most waits have a place by then; what is tested holds without that
			began := time.Now()
			if way == "the session closes" {
				h.Send("end")
			} else {
				h.Kill()
			}
			for range n {
				t.Logf("%s: %v", <-over, time.Since(began).Round(100*time.Microsecond))
			}
			_ = sup.Cmd.Process.Signal(syscall.SIGCONT)
			is(t, "close", s.Close(), nil)
			_ = h.Close()
			_ = sup.Close()
			instancetest.Start(t, cfg) // clears what a supervisor that was killed has left
		})
	}
}

// TestInstanceEndsWaitsGoOn: a session whose instance has ended hears of a peer's death without its watcher.
func TestInstanceEndsWaitsGoOn(t *testing.T) {
	cfg := instancetest.Config(t, "posix")
	sup := instancetest.Start(t, cfg)
	s := instancetest.Open(t, cfg)
	h := proctest.Start(t, "holds", cfg.Dir)
	h.Expect("")
	c := dial(t, s, "api")
	over := make(chan error)
	go func(c net.Conn) { _, err := c.Read(make([]byte, 1)); over <- err }(c)
	is(t, "stop", sup.Stop(), nil)
	<-s.Done()
	h.Kill()
	if err := <-over; err == nil {
		t.Error("a read of what a dead session has not written succeeds")
	}
	is(t, "close", s.Close(), nil)
}

// TestWaitsNameTheHolder: a wait that its context ends says which session it was for, and that this is stopped.
func TestWaitsNameTheHolder(t *testing.T) {
	cfg := dsm.Config{Dir: instancetest.Config(t, "posix").Dir, Logger: instancetest.Logger(t)}
	instancetest.Start(t, cfg)
	s := instancetest.Open(t, cfg)
	h := proctest.Start(t, "holds", cfg.Dir)
	var holder shmsync.Peer
	_, err := fmt.Sscan(h.Expect(""), &holder.Row, &holder.Incarnation)
	is(t, "the holder's name", err, nil)
	v, err := registry.Segment[shared](ctx, s, "shared", nil)
	is(t, "the names", err, nil)
	self := s.Self()
	latch := shmsync.NewLatch(&v.Latch, self)
	is(t, "own", latch.Own(), nil)
	barrier := shmsync.NewBarrier(&v.Barrier, self)
	_, err = barrier.Attach()
	is(t, "attach", err, nil)
	is(t, "stop", h.Stop(), nil)
	instancetest.Eventually(t, "it is stopped", func() bool {
		list, err := s.Sessions(ctx)
		return err == nil && slices.ContainsFunc(list, func(x dsm.SessionInfo) bool {
			return x.Name == holder.String() && x.Pid == h.Pid && x.State == "stopped"
		})
	})
	named := fmt.Sprintf("session %v (process %d, ", holder, h.Pid)
	for name, wait := range map[string]func(context.Context) error{
		"held by " + named:           func(ctx context.Context) error { _, err := shmsync.NewLWLock(&v.Lock, self).Lock(ctx); return err },
		"is held by " + named:        func(ctx context.Context) error { _, err := shmsync.NewLWLock(&v.Lock, self).RLock(ctx); return err },
		"held shared by " + named:    func(ctx context.Context) error { _, err := shmsync.NewLWLock(&v.Read, self).Lock(ctx); return err },
		"was not set by " + named:    func(ctx context.Context) error { return latch.Wait(ctx, holder) },
		"barrier waits for " + named: func(ctx context.Context) error { _, err := barrier.ArriveAndWait(ctx); return err },
		named:                        func(ctx context.Context) error { _, err := dsmnet.Dial(ctx, s, "api"); return err },
	} {
		short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
		err := wait(short)
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "stopped)") {
			t.Errorf("%q lacks %q, stopped", err, name)
		}
	}
	own := shmsync.NewLWLock(&shmsync.LWLockWord{}, self)
	_, err = own.Lock(ctx)
	is(t, "lock", err, nil)
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	if _, err = own.Lock(short); err == nil || !strings.Contains(err.Error(), "held by this session itself") {
		t.Errorf("locked twice: %v", err)
	}
	_ = h.Cmd.Process.Signal(syscall.SIGCONT)
}
