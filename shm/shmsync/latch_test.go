package shmsync_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/godsm/godsm/internal/testing/proctest"
	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/shmsync"
)

func init() {
	proctest.Register("echo", echoHelper)
	proctest.Register("latchowner", latchOwnerHelper)
}

func owned(t testing.TB, w *shmsync.LatchWord, me shmsync.Self) *shmsync.Latch {
	t.Helper()
	l := shmsync.NewLatch(w, me)
	if err := l.Own(); err != nil {
		t.Fatal(err)
	}
	return l
}

func TestLatch(t *testing.T) {
	var w shmsync.LatchWord
	var all world
	a, b := shmsync.NewLatch(&w, all.self(1)), shmsync.NewLatch(&w, all.self(2))
	if _, is := a.Owner(); is {
		t.Error("the zero latch has an owner")
	}
	if err := a.Wait(ctx); !errors.Is(err, shmsync.ErrNotOwner) {
		t.Errorf("Wait by nobody's owner = %v", err)
	}
	if err := a.Own(); err != nil {
		t.Fatal(err)
	}
	for _, l := range []*shmsync.Latch{a, b} {
		if err := l.Own(); !errors.Is(err, shmsync.ErrOwned) {
			t.Errorf("a second Own = %v", err)
		}
	}
	if err := b.Wait(ctx); !errors.Is(err, shmsync.ErrNotOwner) {
		t.Errorf("Wait by another = %v", err)
	}
	short, cancel := context.WithTimeout(ctx, 5*time.Millisecond)
	defer cancel()
	if err := a.Wait(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Wait = %v", err)
	}
	b.Set()
	b.Set()
	if err := a.Wait(short); err != nil {
		t.Errorf("a set latch loses against a context that is over: %v", err)
	}
	if !a.IsSet() || !b.IsSet() {
		t.Error("Wait resets")
	}
	a.Reset()
	if a.IsSet() {
		t.Error("set twice, reset once: still set")
	}
	over, giveUp := context.WithCancelCause(ctx)
	why := errors.New("enough")
	done := make(chan error)
	go func() { done <- a.Wait(over) }()
	giveUp(why)
	if err := <-done; err != why {
		t.Errorf("Wait = %v", err)
	}

	a.Set()
	a.Disown()
	if err := b.Own(); err != nil {
		t.Fatal(err)
	}
	if err := b.Wait(ctx); err != nil {
		t.Errorf("set before it was owned: %v", err)
	}
	all.kill(2)
	if err := a.Own(); err != nil {
		t.Errorf("the owner is dead: %v", err)
	}
	b.Disown() // no longer its own
	if p, is := a.Owner(); !is || p.Row != 1 {
		t.Errorf("owner %v, %v", p, is)
	}
}

func TestLatchPeerDies(t *testing.T) {
	var w [2]shmsync.LatchWord
	var all world
	l := owned(t, &w[0], all.self(1))
	other := owned(t, &w[1], all.self(1))
	done := make(chan error)
	go func() {
		_, err := shmsync.WaitAny(ctx, []*shmsync.Latch{other, l}, all.self(2).Peer, all.self(3).Peer)
		done <- err
	}()
	all.kill(3)
	err := <-done
	died, ok := errors.AsType[*shmsync.PeerDiedError](err)
	if !ok || died.Peer.Row != 3 || !errors.Is(err, shmsync.ErrPeerDied) {
		t.Errorf("WaitAny = %v", err)
	}
	l.Set()
	if i, err := shmsync.WaitAny(ctx, []*shmsync.Latch{other, l}, all.self(3).Peer); i != 1 || err != nil {
		t.Errorf("what the dead one set is lost: %d, %v", i, err)
	}
}

// TestLatchSetterDies: one that died between setting the latch and waking its owner.
func TestLatchSetterDies(t *testing.T) {
	var w shmsync.LatchWord
	var all world
	l := owned(t, &w, all.self(1))
	done := make(chan error)
	go func() { done <- l.Wait(ctx) }()
	w.Leave(shmsync.LatchSet)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestLatchLosesNothing: numbers are announced by a latch, in both of PostgreSQL's loops; plain data shows
// the race detector the edge.
func TestLatchLosesNothing(t *testing.T) {
	mapped := newBytes(t, t.TempDir(), 4096)
	words := must(shm.SliceOf[shmsync.LatchWord](shm.NewRegion(mapped), 0, 2))
	var all world
	for name, resetFirst := range map[string]bool{"reset, look, wait": true, "look, wait, reset": false} {
		t.Run(name, func(t *testing.T) {
			there, back := shmsync.NewLatch(&words[0], all.self(1)), shmsync.NewLatch(&words[1], all.self(2))
			var ball, answered atomic.Int64 // whose turn it is
			var plain int64                 // ordered by the latches alone
			wait := func(l *shmsync.Latch, done func() bool) {
				for {
					if resetFirst {
						l.Reset()
					}
					if done() {
						l.IsSet()
						return
					}
					if err := l.Wait(ctx); err != nil {
						t.Error(err)
						return
					}
					if !resetFirst {
						l.Reset()
					}
				}
			}
			const n = 5000
			ready, ended := make(chan struct{}), make(chan struct{})
			go func() {
				defer close(ended)
				there := shmsync.NewLatch(&words[0], all.self(2))
				if err := there.Own(); err != nil {
					t.Error(err)
				}
				close(ready)
				for i := int64(1); i <= n; i++ {
					wait(there, func() bool { return ball.Load() == i })
					plain++
					answered.Store(i)
					back.Set()
				}
				there.Disown()
			}()
			<-ready
			mine := shmsync.NewLatch(&words[1], all.self(1))
			if err := mine.Own(); err != nil {
				t.Fatal(err)
			}
			for i := int64(1); i <= n; i++ {
				plain++
				ball.Store(i)
				there.Set()
				wait(mine, func() bool { return answered.Load() == i })
			}
			mine.Disown()
			<-ended
			if plain != 2*n {
				t.Errorf("counted %d", plain)
			}
		})
	}
}

// TestManyLatchesFewThreads: goroutines that wait for different latches, more than one futex_waitv takes.
func TestManyLatchesFewThreads(t *testing.T) {
	const n = 300
	words := make([]shmsync.LatchWord, n)
	var all world
	var begun, ended atomic.Int32
	before := threads(t)
	var wg sync.WaitGroup
	for i := range n {
		l := owned(t, &words[i], all.self(1))
		wg.Go(func() {
			for range 3 {
				begun.Add(1)
				if err := l.Wait(ctx); err != nil {
					t.Error(err)
				}
				l.Reset()
				ended.Add(1)
			}
		})
	}
	for round := range int32(3) {
		for begun.Load() < n*(round+1) {
			runtime.Gosched()
		}
		for i := range words {
			for !words[i].MayBeAsleep() {
				runtime.Gosched()
			}
		}
		if n := threads(t) - before; n > 20 {
			t.Errorf("300 goroutines that wait cost %d threads", n)
		}
		for i := range words {
			shmsync.NewLatch(&words[i], all.self(2)).Set()
		}
		for ended.Load() < n*(round+1) {
			runtime.Gosched()
		}
	}
	wg.Wait()
}

// echoHelper waits for latch 1 and sets latch 0.
func echoHelper(c *proctest.Child) error {
	s, me, _, err := onStage(c)
	if err != nil {
		return err
	}
	mine, theirs := shmsync.NewLatch(&s.Latches[1], me), shmsync.NewLatch(&s.Latches[0], me)
	if err := mine.Own(); err != nil {
		return err
	}
	c.Say("ready")
	for n := uint64(1); s.Stop.Load() == 0; n++ {
		for {
			mine.Reset()
			if s.Numbers[0].Load() >= n || s.Stop.Load() != 0 {
				break
			}
			if err := mine.Wait(ctx); err != nil {
				return err
			}
		}
		s.Numbers[1].Store(n)
		theirs.Set()
	}
	return nil
}

func roundTrip(s *stage, mine, theirs *shmsync.Latch, n uint64, peer shmsync.Peer) error {
	s.Numbers[0].Store(n)
	theirs.Set()
	for {
		mine.Reset()
		if s.Numbers[1].Load() >= n {
			return nil
		}
		if err := mine.Wait(ctx, peer); err != nil {
			return err
		}
	}
}

// TestLatchBetweenProcesses: round trips; then the partner is killed.
func TestLatchBetweenProcesses(t *testing.T) {
	dir, s, me := newStage(t)
	p := startOnStage(t, "echo", dir, 1)
	mine, theirs := owned(t, &s.Latches[0], me), shmsync.NewLatch(&s.Latches[1], me)
	peer, _ := theirs.Owner()
	n := uint64(20000)
	if runtime.GOOS != "linux" { // half a turn takes up to a millisecond
		n = 500
	}
	for i := uint64(1); i <= n; i++ {
		if err := roundTrip(s, mine, theirs, i, peer); err != nil {
			t.Fatal(err)
		}
	}
	p.Kill()
	if err := roundTrip(s, mine, theirs, n+1, peer); !errors.Is(err, shmsync.ErrPeerDied) {
		t.Errorf("a wait for a process that was killed = %v", err)
	}
	if err := theirs.Own(); err != nil {
		t.Errorf("the owner was killed: %v", err)
	}
}

// latchOwnerHelper waits for ever.
func latchOwnerHelper(c *proctest.Child) error {
	s, me, _, err := onStage(c)
	if err != nil {
		return err
	}
	l := shmsync.NewLatch(&s.Latches[2], me)
	if err := l.Own(); err != nil {
		return err
	}
	c.Say("ready")
	return l.Wait(ctx)
}

// TestIdleWaiterBurnsNothing: a process that waits for long uses no processor time to speak of.
func TestIdleWaiterBurnsNothing(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("skipped: waiters look again and again on this system")
	}
	dir, s, me := newStage(t)
	p := startOnStage(t, "latchowner", dir, 1)
	begin := time.Now()
	<-time.After(2 * time.Second) // what is measured is a time
	shmsync.NewLatch(&s.Latches[2], me).Set()
	if err := p.Wait(); err != nil {
		t.Fatal(err)
	}
	waited, used := time.Since(begin), p.Cmd.ProcessState.UserTime()+p.Cmd.ProcessState.SystemTime()
	t.Logf("waited %v, and used %v of processor time, its start and end included", waited, used)
	if used > waited/4 { // one that spins uses all of it, on however busy a machine
		t.Error("an idle waiter burns processor time")
	}
}

func BenchmarkLatchSet(b *testing.B) {
	var w shmsync.LatchWord
	var all world
	l := shmsync.NewLatch(&w, all.self(1))
	b.Run("set already", func(b *testing.B) {
		l.Set()
		for b.Loop() {
			l.Set()
		}
	})
	b.Run("and reset", func(b *testing.B) {
		for b.Loop() {
			l.Set()
			l.Reset()
		}
	})
}
