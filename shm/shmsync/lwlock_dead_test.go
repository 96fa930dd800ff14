package shmsync_test

import (
	"errors"
	"testing"

	"github.com/godsm/godsm/shm/shmsync"
)

// TestLWLockCrashPoints lays out what a process leaves that is killed between any two instructions, and sees
// that the next one gets in.
func TestLWLockCrashPoints(t *testing.T) {
	var all world
	all.kill(7)
	all.kill(8)
	dead, dead2 := all.self(7).Peer, all.self(8).Peer
	one := []shmsync.Peer{dead}
	for _, c := range []struct {
		name      string
		owner     *shmsync.Peer
		flags     uint64
		readers   []shmsync.Peer
		waiters   []shmsync.Peer
		abandoned bool
	}{
		{"reader: slot entered, state not looked at", nil, 0, one, nil, false},
		{"reader: in", nil, shmsync.MayRead, one, nil, false},
		{"reader: in beside another dead one", nil, shmsync.MayRead, []shmsync.Peer{dead, dead2}, nil, false},
		{"reader: slot left, writer not woken", &dead2, shmsync.MayRead | shmsync.SleepS, nil, nil, false},
		{"reader: slot entered behind a writer, not yet taken back", &dead2, 0, one, nil, true},
		{"writer: owner, waiting for a dead reader", &dead, shmsync.MayRead, []shmsync.Peer{dead2}, nil, false},
		{"writer: owner, asleep for its own process's dead reader",
			&dead, shmsync.MayRead | shmsync.SleepX, one, nil, false},
		{"writer: in", &dead, 0, nil, nil, true},
		{"writer: in, others asleep",
			&dead, shmsync.SleepX | shmsync.SleepS | shmsync.Hungry, nil, []shmsync.Peer{dead2}, true},
		{"writer: in, taken over from another dead one", &dead, shmsync.Abandoned, nil, nil, true},
		{"writer: out, nobody woken yet", nil, shmsync.Hungry, nil, one, false},
		{"waiter: listed", nil, 0, nil, one, false},
		{"waiter: hungry", nil, shmsync.Hungry | shmsync.SleepX, nil, one, false},
		{"waiter: flag set", nil, shmsync.MayRead | shmsync.SleepS, nil, one, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			for name, lock := range map[string]func(*shmsync.LWLock) (shmsync.Guard, bool, error){
				"Lock": func(l *shmsync.LWLock) (shmsync.Guard, bool, error) {
					g, err := l.Lock(ctx)
					return g, true, err
				},
				"RLock": func(l *shmsync.LWLock) (shmsync.Guard, bool, error) {
					g, err := l.RLock(ctx)
					return g, true, err
				},
				"TryLock":  (*shmsync.LWLock).TryLock,
				"TryRLock": (*shmsync.LWLock).TryRLock,
			} {
				w := new(shmsync.LWLockWord)
				w.Leave(c.owner, c.flags, c.readers, c.waiters)
				l := shmsync.NewLWLock(w, all.self(1))
				if s := l.Status(); s.Exclusive != nil || s.Shared != nil || s.Waiting != nil {
					t.Errorf("%s: the dead hold or wait: %+v", name, s)
				}
				g, ok, err := lock(l)
				if !ok || err != nil {
					t.Fatalf("%s = %v, %v", name, ok, err)
				}
				if g.Abandoned() != c.abandoned {
					t.Errorf("%s: abandoned %v", name, !c.abandoned)
				}
				if c.abandoned {
					if s := l.Status(); len(s.Exclusive) != 1 {
						t.Errorf("%s: who is to repair must be alone: %+v", name, s)
					}
				}
				g.MarkConsistent()
				g.Unlock()
				if !free(t, l) {
					t.Errorf("%s: not free afterwards, state %x", name, w.State())
				}
			}
		})
	}
}

func TestPoisoned(t *testing.T) {
	var w shmsync.LWLockWord
	var all world
	dead, a := shmsync.NewLWLock(&w, all.self(1)), shmsync.NewLWLock(&w, all.self(2))
	old := must(dead.Lock(ctx))
	waiting := make(chan error)
	go func() {
		b := shmsync.NewLWLock(&w, all.self(3))
		g, err := b.RLock(ctx)
		if err == nil { // may have been the first
			g.Unlock()
			_, err = b.RLock(ctx)
		}
		waiting <- err
	}()
	all.kill(1)
	g, err := a.Lock(ctx)
	if err == nil {
		old.Unlock() // by a session whose lock was rightly taken over
		if s := a.Status(); len(s.Exclusive) != 1 {
			t.Errorf("unlocked by the former holder: %+v", s)
		}
		g.Unlock() // and not repaired
	}
	if err := <-waiting; !errors.Is(err, shmsync.ErrNotRecoverable) {
		t.Errorf("RLock of a poisoned lock = %v", err)
	}
	for range 2 {
		if _, err := a.Lock(ctx); !errors.Is(err, shmsync.ErrNotRecoverable) {
			t.Errorf("Lock of a poisoned lock = %v", err)
		}
		if _, ok, err := a.TryRLock(); ok || !errors.Is(err, shmsync.ErrNotRecoverable) {
			t.Errorf("TryRLock of a poisoned lock = %v", err)
		}
	}
	if !a.Status().Poisoned {
		t.Error("status does not say poisoned")
	}
}
