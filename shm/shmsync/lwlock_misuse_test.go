package shmsync_test

import (
	"errors"
	"sync"
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

// TestSecondUnlockUpToTheSameNumber: it is harmless in each of the next 32,767 holds, and gives the one after back, as
// documented.
func TestSecondUnlockUpToTheSameNumber(t *testing.T) {
	l, other := lockPair()
	first := must(l.Lock(ctx))
	first.Unlock()
	for n := 1; n < 1<<15; n++ {
		g := must([]*shmsync.LWLock{l, other}[n%2].Lock(ctx))
		first.Unlock()
		if n%1000 == 1 || n > 1<<15-10 {
			if _, ok, err := l.TryLock(); ok || err != nil {
				t.Fatalf("hold %d was given back by the guard of the first one: %v", n, err)
			}
		}
		g.Unlock()
	}
	g := must(l.Lock(ctx))
	first.Unlock()
	again, ok, err := other.TryLock()
	if !ok || err != nil {
		t.Fatalf("hold 32,768 has another number than the first one: %v", err)
	}
	g.Unlock()
	if _, ok, _ := l.TryLock(); ok {
		t.Error("the second Unlock of a guard gave another session's hold back")
	}
	again.Unlock()
	if !free(t, l) {
		t.Error("not free afterwards")
	}
}

// lockPair is a lock as two sessions see it.
func lockPair() (*shmsync.LWLock, *shmsync.LWLock) {
	w := new(shmsync.LWLockWord)
	return shmsync.NewLWLock(w, self(1, 1)), shmsync.NewLWLock(w, self(2, 1))
}

// TestManyUnlocksOfOneSharedGuard by many goroutines at once: the session holds nothing afterwards, and no less.
func TestManyUnlocksOfOneSharedGuard(t *testing.T) {
	l, other := lockPair()
	for range 200 {
		theirs := must(other.RLock(ctx))
		g := must(l.RLock(ctx))
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() { g.Unlock(); g.Unlock() })
		}
		wg.Wait()
		if _, ok, err := l.TryLock(); ok || err != nil {
			t.Fatalf("another session's reader has been given back: %v", err)
		}
		a, b := must(l.RLock(ctx)), must(l.RLock(ctx)) // the count is right: both are needed
		theirs.Unlock()
		a.Unlock()
		if _, ok, err := other.TryLock(); ok || err != nil {
			t.Fatalf("a reader of two is not counted: %v", err)
		}
		b.Unlock()
		if !free(t, l) {
			t.Fatal("not free afterwards")
		}
	}
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
