package shmsync_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/godsm/godsm/internal/testing/proctest"
	"github.com/godsm/godsm/shm/shmsync"
)

func init() {
	proctest.Register("phases", phasesHelper)
	proctest.Register("joiner", joinerHelper)
}

func TestBarrierAlone(t *testing.T) {
	var w shmsync.BarrierWord
	var all world
	b := shmsync.NewBarrier(&w, all.self(1))
	if _, err := b.ArriveAndWait(ctx); err == nil {
		t.Error("arrived without being attached")
	}
	if _, err := b.Detach(); err == nil {
		t.Error("detached without being attached")
	}
	for phase := range uint32(70) { // tags go round at 32
		if p, err := b.Attach(); p != phase || err != nil {
			t.Fatalf("Attach = %d, %v in phase %d", p, err, phase)
		}
		if elected, err := b.ArriveAndWait(ctx); !elected || err != nil {
			t.Fatalf("ArriveAndWait = %v, %v", elected, err)
		}
		if last, err := b.Detach(); !last || err != nil {
			t.Fatalf("Detach = %v, %v", last, err)
		}
	}
	must(b.Attach())
	if last, err := b.ArriveAndDetach(); !last || err != nil || b.Phase() != 71 {
		t.Errorf("ArriveAndDetach = %v, %v, phase %d", last, err, b.Phase())
	}
	if p := b.Participants(); p != nil {
		t.Errorf("left: %v", p)
	}
}

func TestBarrier(t *testing.T) {
	var w shmsync.BarrierWord
	var all world
	a, b := shmsync.NewBarrier(&w, all.self(1)), shmsync.NewBarrier(&w, all.self(2))
	must(a.Attach())
	must(b.Attach())
	if n := len(a.Participants()); n != 2 {
		t.Errorf("%d participants", n)
	}
	short, cancel := context.WithTimeout(ctx, 3*time.Millisecond)
	defer cancel()
	if _, err := a.ArriveAndWait(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("ArriveAndWait = %v", err)
	}
	done := make(chan bool)
	arrive := func(b *shmsync.Barrier) {
		elected, err := b.ArriveAndWait(ctx)
		if err != nil {
			t.Error(err)
		}
		done <- elected
	}
	go arrive(b) // alone: the arrival of a was taken back
	select {
	case <-done:
		t.Error("an arrival that was taken back counts")
	case <-time.After(20 * time.Millisecond): // errs to green only
	}
	go arrive(a)
	if one, other := <-done, <-done; one == other {
		t.Errorf("elected: %v and %v", one, other)
	}
	go arrive(b)
	if last, err := a.Detach(); last || err != nil {
		t.Errorf("Detach = %v, %v", last, err)
	}
	if !<-done {
		t.Error("somebody must be elected, if the phase was ended by one who left, too")
	}
	// A process that dies is subtracted, whether it has arrived or not.
	must(a.Attach())
	go arrive(b)
	all.kill(1)
	if !<-done || b.Phase() != 3 {
		t.Errorf("phase %d", b.Phase())
	}
	if n := len(b.Participants()); n != 1 {
		t.Errorf("%d participants", n)
	}
	if last, err := b.ArriveAndDetach(); !last || err != nil {
		t.Errorf("ArriveAndDetach = %v, %v", last, err)
	}
}

// TestBarrierCrashPoints lays out what one leaves that is killed between any two instructions.
func TestBarrierCrashPoints(t *testing.T) {
	for _, c := range []struct {
		name              string
		attached, arrived uint64
	}{
		{"attached, and not announced", 1, 0},
		{"several attached, some arrived", 3, 2},
		{"arrived, phase not ended", 1, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			var w shmsync.BarrierWord
			var all world
			all.kill(7)
			w.Leave(0, all.self(7).Peer, c.attached, c.arrived)
			b := shmsync.NewBarrier(&w, all.self(1))
			must(b.Attach())
			for range 3 {
				if elected, err := b.ArriveAndWait(ctx); !elected || err != nil {
					t.Errorf("ArriveAndWait = %v, %v", elected, err)
				}
			}
			if last, err := b.Detach(); !last || err != nil {
				t.Errorf("Detach = %v, %v", last, err)
			}
		})
	}
	t.Run("all arrived, phase not ended, and who should have is dead", func(t *testing.T) {
		var w shmsync.BarrierWord
		var all world
		b := shmsync.NewBarrier(&w, all.self(1))
		must(b.Attach())
		w.Leave(1, all.self(7).Peer, 1, 0)
		done := make(chan error)
		go func() { _, err := b.ArriveAndWait(ctx); done <- err }()
		w.Leave(1, all.self(7).Peer, 1, 1)
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestBarrierFull(t *testing.T) {
	var w struct {
		b    shmsync.BarrierWord
		more [2]shmsync.Slot
	}
	var all world
	for row := range 32 {
		must(shmsync.NewBarrier(&w.b, all.self(row), w.more[:]...).Attach())
	}
	late := shmsync.NewBarrier(&w.b, all.self(40), w.more[:]...)
	if _, err := late.Attach(); !errors.Is(err, shmsync.ErrFull) {
		t.Errorf("Attach = %v", err)
	}
	all.kill(5)
	if _, err := late.Attach(); err != nil {
		t.Errorf("in the place of a dead one: %v", err)
	}
}

// TestBarrierKeepsStep: goroutines of several sessions go through phases, none ahead of another. Plain numbers
// that change hands at each phase show the race detector the edges.
func TestBarrierKeepsStep(t *testing.T) {
	var w shmsync.BarrierWord
	var all world
	const sessions, each, phases = 3, 4, 400
	var at [sessions * each]int
	var elected [phases]atomic.Int32
	var wg, attached sync.WaitGroup
	attached.Add(sessions * each)
	for i := range sessions * each {
		if i%each == 0 {
			runtime.Gosched()
		}
		wg.Go(func() {
			b := shmsync.NewBarrier(&w, all.self(i/each))
			must(b.Attach())
			attached.Done()
			attached.Wait()
			for p := range phases {
				at[i] = p + 1
				if must(b.ArriveAndWait(ctx)) {
					elected[p].Add(1)
				}
				for k, n := range at {
					if n != p+1 {
						t.Errorf("participant %d is at %d, %d at %d", i, p+1, k, n)
					}
				}
				must(b.ArriveAndWait(ctx))
			}
			must(b.ArriveAndDetach())
		})
	}
	wg.Wait()
	for p := range phases {
		if n := elected[p].Load(); n != 1 {
			t.Errorf("%d elected in phase %d", n, p)
		}
	}
}

// phasesHelper goes through phases with two participants until the test says stop.
func phasesHelper(c *proctest.Child) error {
	s, me, _, err := onStage(c)
	if err != nil {
		return err
	}
	b := shmsync.NewBarrier(&s.Barrier, me)
	errs := make(chan error)
	for range 2 {
		phase, err := b.Attach()
		if err != nil {
			return err
		}
		go func() {
			errs <- func() error {
				for p := phase; s.Stop.Load() == 0; p++ {
					elected, err := b.ArriveAndWait(ctx)
					if err != nil {
						return err
					}
					if now := b.Phase(); now != p+1 {
						return fmt.Errorf("after phase %d it is %d", p, now)
					}
					if elected {
						if last := s.Numbers[1].Swap(uint64(p) + 1); last > uint64(p) {
							return fmt.Errorf("elected in %d after %d", p, last)
						}
						s.Rounds.Add(1)
					}
					if rand.IntN(8) == 0 {
						runtime.Gosched()
					}
				}
				_, err := b.Detach()
				return err
			}()
		}()
	}
	c.Say("ready")
	return errors.Join(<-errs, <-errs)
}

// TestBarrierKilledParticipants: the others go on with the phases.
func TestBarrierKilledParticipants(t *testing.T) {
	dir, s, me := newStage(t)
	procs := make([]*proctest.Process, 3)
	for i := range procs {
		procs[i] = startOnStage(t, "phases", dir, i+1)
	}
	b := shmsync.NewBarrier(&s.Barrier, me)
	for kill := range kills(40) {
		for before := b.Phase(); int32(b.Phase()-before) < 20; {
			runtime.Gosched()
		}
		i := kill % len(procs)
		procs[i].Kill()
		procs[i] = startOnStage(t, "phases", dir, i+1)
	}
	s.Stop.Store(1)
	for _, p := range procs {
		if err := p.Wait(); err != nil {
			t.Errorf("a process that was not killed: %v", err)
		}
	}
	if list := b.Participants(); list != nil {
		t.Errorf("left: %v", list)
	}
	t.Logf("%d phases, %d elected", b.Phase(), s.Rounds.Load())
}

// joinerHelper takes part until it is killed.
func joinerHelper(c *proctest.Child) error {
	s, me, _, err := onStage(c)
	if err != nil {
		return err
	}
	b := shmsync.NewBarrier(&s.Barrier, me)
	if _, err := b.Attach(); err != nil {
		return err
	}
	c.Say("ready")
	for {
		if _, err := b.ArriveAndWait(ctx); err != nil {
			return err
		}
	}
}
