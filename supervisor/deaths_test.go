package supervisor_test

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/internal/testing/proctest"
	"github.com/godsm/godsm/shm/shmsync"
)

func init() { proctest.Register("mourner", mournerHelper) }

// mournerHelper: DIR. It says who it is, and of whose death it is told.
func mournerHelper(c *proctest.Child) error {
	s, err := dsm.Open(ctx, dsm.Config{Dir: c.Args[0]})
	if err != nil {
		return err
	}
	defer s.Close()
	s.OnDeath(func(p shmsync.Peer) { c.Say("died %v", p) })
	c.Say("open %v", s.Self().Peer)
	c.Hear()
	return nil
}

// mourner is a session in a process of its own that prints the deaths it hears of.
type mourner struct {
	*proctest.Process
	peer string
}

func (e env) mourner() *mourner {
	e.t.Helper()
	p := proctest.Start(e.t, "mourner", e.dir)
	return &mourner{p, p.Expect("open ")}
}

// died is what a mourner is told next.
func (m *mourner) died(t *testing.T, want ...*mourner) {
	t.Helper()
	left := map[string]bool{}
	for _, w := range want {
		left[w.peer] = true
	}
	for len(left) > 0 {
		got := m.Expect("died ")
		if !left[got] {
			t.Fatalf("told of %s, and %v is yet to be told of", got, left)
		}
		delete(left, got)
	}
}

// TestDeathsAreToldOnce: of kills, not of closes, regardless of which process reclaims.
func TestDeathsAreToldOnce(t *testing.T) {
	instancetest.Each(t, func(t *testing.T, backend string) {
		t.Parallel()
		e := newEnv(t)
		sup, _ := e.supervise("dynamic_shared_memory_type", backend)
		a, b := e.mourner(), e.mourner()
		kill := func(n int) (dead []*mourner) {
			for range n {
				dead = append(dead, e.mourner())
			}
			var wg sync.WaitGroup
			for _, m := range dead {
				wg.Go(m.Kill)
			}
			wg.Wait()
			return dead
		}
		told := func(dead []*mourner) {
			t.Helper()
			a.died(t, dead...)
			b.died(t, dead...)
		}
		told(kill(1))
		if err := e.mourner().Close(); err != nil { // which is no death
			t.Error(err)
		}
		told(kill(8))

		sup.Kill() // nor is that a session's
		told(kill(2))
		sup, _ = e.supervise("dynamic_shared_memory_type", backend) // adopts
		told(kill(2))
		unseen := kill(2)
		sup.Kill()
		sup, _ = e.supervise("dynamic_shared_memory_type", backend)
		told(unseen)

		b.Kill()
		a.died(t, b)
		if err := sup.Close(); err != nil {
			t.Error(err)
		}
		if err := a.Close(); err != nil {
			t.Error(err)
		}
		if line, ok := a.Line(); ok {
			t.Errorf("told of %q too", line)
		}
	})
}

// TestOnDeathEndsInEveryWay: what the function does is no harm to what else is told.
func TestOnDeathEndsInEveryWay(t *testing.T) {
	e := newEnv(t)
	e.supervise()
	s := e.open()
	told := make(chan string, 100)
	on := func(name string, f func()) (stop func()) {
		return s.OnDeath(func(p shmsync.Peer) {
			told <- fmt.Sprint(name, " ", p)
			f()
		})
	}
	on("panic", func() { panic("a function of OnDeath") })
	on("goexit", runtime.Goexit)
	on("stopped", func() {})()
	on("calls", func() {
		if _, err := s.Sessions(ctx); err != nil {
			t.Error(err)
		}
	})
	var stop func()
	stop = on("stops itself", func() { stop() })
	for round := range 2 {
		m := e.mourner()
		m.Kill()
		for _, name := range []string{"panic", "goexit", "calls", "stops itself"} {
			if name == "stops itself" && round > 0 {
				continue
			}
			if got := <-told; got != name+" "+m.peer {
				t.Errorf("told %q, want it to be %s of %s", got, name, m.peer)
			}
		}
	}
	closed := make(chan error)
	on("closes", func() { closed <- s.Close() })
	on("too late", func() { t.Error("called after Close") })
	e.mourner().Kill()
	if err := <-closed; err != nil {
		t.Error(err)
	}
	s.OnDeath(func(shmsync.Peer) { t.Error("called after Close") })()
}

// TestAskedSessionsLook: a session that another one asks calls what looks after its locks.
func TestAskedSessionsLook(t *testing.T) {
	e := newEnv(t)
	e.supervise()
	a, b := e.open(), e.open()
	asked := make(chan struct{})
	stop := a.Self().OnAsk(func() { asked <- struct{}{} })
	b.Self().Ask(a.Self().Peer)
	<-asked
	stop()
	b.Self().Ask(a.Self().Peer)
	b.Self().Ask(shmsync.Peer{Row: 1 << 20})
	b.Self().Ask(shmsync.Peer{Row: -1})
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	b.Self().Ask(a.Self().Peer)
}

// TestMailboxBetweenSessions: a session's goroutines are rung by another process's, and hear of deaths and of their end.
func TestMailboxBetweenSessions(t *testing.T) {
	instancetest.Each(t, func(t *testing.T, backend string) {
		e := newEnv(t)
		e.supervise("dynamic_shared_memory_type", backend)
		a, b := e.open(), e.open()
		box := a.Self().Mailbox
		bit := box.Take()
		waited := make(chan error)
		wait := func() { waited <- bit.Wait(ctx) }
		for range 100 {
			go wait()
			b.Self().Mailbox.Ring(a.Self().Peer, bit.Number())
			if err := <-waited; err != nil {
				t.Fatal(err)
			}
		}
		m := e.mourner()
		go wait()
		m.Kill() // whose ring may have been lost with it
		if err := <-waited; err != nil {
			t.Error(err)
		}
		go func() {
			for {
				if err := bit.Wait(ctx); err != nil {
					waited <- err
					return
				}
			}
		}()
		if err := a.Close(); err != nil {
			t.Error(err)
		}
		if err := <-waited; !errors.Is(err, dsm.ErrClosed) {
			t.Errorf("Wait of a session that was closed = %v", err)
		}
		b.Self().Mailbox.Ring(a.Self().Peer, bit.Number())
		box.Ring(b.Self().Peer, 0)
		bit.Release()
	})
}
