package shmsync_test

import (
	"errors"
	"testing"

	"github.com/godsm/godsm/shm/shmsync"
)

// TestSecondUnlockOfExclusiveGuardIsHarmless: however many holds have been in between.
func TestSecondUnlockOfExclusiveGuardIsHarmless(t *testing.T) {
	l := shmsync.NewLWLock(new(shmsync.LWLockWord), self(1, 1))
	first := must(l.Lock(ctx))
	first.Unlock()
	for n := range 2000 {
		g := must(l.Lock(ctx))
		first.Unlock()
		first.MarkConsistent()
		if _, ok, err := l.TryLock(); ok || err != nil {
			t.Fatalf("after %d holds a guard's second Unlock gave another one's hold back: %v", n, err)
		}
		g.Unlock()
		g.Unlock()
	}
	if !free(t, l) {
		t.Error("not free afterwards")
	}
	shmsync.Guard{}.Unlock()
}

// TestSecondUnlockOfSharedGuard: never more than the session holds; in checked mode nothing at all.
func TestSecondUnlockOfSharedGuard(t *testing.T) {
	for _, checked := range []bool{false, true} {
		var w shmsync.LWLockWord
		me := self(1, 1)
		me.Checked = checked
		l, other := shmsync.NewLWLock(&w, me), shmsync.NewLWLock(&w, self(2, 1))
		theirs := must(other.RLock(ctx))
		a, b := must(l.RLock(ctx)), must(l.RLock(ctx))
		a.Unlock()
		a.Unlock()
		if want := 2; checked && w.Readers() != want {
			t.Errorf("checked: %d slots are in use after a second Unlock, want %d", w.Readers(), want)
		}
		b.Unlock()
		for range 3 {
			a.Unlock()
			b.Unlock()
		}
		if w.Readers() != 1 {
			t.Errorf("%d slots are in use by another session's reader", w.Readers())
		}
		theirs.Unlock()
		if !free(t, l) {
			t.Error("not free afterwards")
		}
	}
}

// TestRecoverTakesPoisonedLock: a caller that can repair gets in, and is told to.
func TestRecoverTakesPoisonedLock(t *testing.T) {
	for _, readers := range []bool{false, true} {
		var w shmsync.LWLockWord
		var all world
		flags := uint64(shmsync.Poisoned)
		var reads []shmsync.Peer
		if readers {
			flags, reads = flags|shmsync.MayRead, []shmsync.Peer{all.self(8).Peer}
			all.kill(8)
		}
		w.Leave(nil, flags, reads, nil)
		l := shmsync.NewLWLock(&w, all.self(1))
		if _, err := l.Lock(ctx); !errors.Is(err, shmsync.ErrNotRecoverable) {
			t.Errorf("Lock = %v", err)
		}
		g, err := l.Recover(ctx)
		if err != nil || !g.Abandoned() {
			t.Fatalf("Recover = %v, abandoned %v", err, g.Abandoned())
		}
		g.Unlock() // not repaired
		if _, err := l.Lock(ctx); !errors.Is(err, shmsync.ErrNotRecoverable) {
			t.Errorf("Lock after a Recover without a repair = %v", err)
		}
		g = must(l.Recover(ctx))
		g.MarkConsistent()
		g.Unlock()
		if g := must(l.Recover(ctx)); g.Abandoned() {
			t.Error("Recover of a lock in order is Abandoned")
		} else {
			g.Unlock()
		}
		if !free(t, l) {
			t.Error("not free afterwards")
		}
	}
}
