package spin

import (
	"runtime"
	"sync"
	"testing"
)

func TestBudgetLearns(t *testing.T) {
	if runtime.NumCPU() == 1 {
		t.Skip("skipped: with one CPU nobody spins")
	}
	var b Budget
	looks := func(answerAt int) (n int, ok bool) {
		ok = b.Until(func() bool { n++; return n == answerAt })
		return n, ok
	}
	if n, ok := looks(3); n != 3 || !ok {
		t.Errorf("%d looks, %v", n, ok)
	}
	for range 20 { // no answer ever
		looks(-1)
	}
	if n, ok := looks(-1); n != 0 || ok {
		t.Errorf("%d looks by one who should have given up", n)
	}
	tried := false
	for range probe {
		n, ok := looks(1)
		tried = tried || n > 0 && ok
	}
	if n, ok := looks(100); !tried || n != 100 || !ok {
		t.Errorf("never tries again: %v, %d looks, %v", tried, n, ok)
	}
}

// TestStopTeachesNothing: a look that stops leaves the budget as it was.
func TestStopTeachesNothing(t *testing.T) {
	if runtime.NumCPU() == 1 {
		t.Skip("skipped: with one CPU nobody spins")
	}
	var b Budget
	for range 50 {
		n := 0
		if b.Unless(func() (bool, bool) { n++; return false, n == 2 }) || n != 2 {
			t.Fatalf("stopped after %d looks", n)
		}
	}
}

// TestRoundsLearn: what is always in vain is tried ever more rarely, but never given up.
func TestRoundsLearn(t *testing.T) {
	var r Rounds
	rivals = lesson{}
	tries := func(calls int, answer bool) (tried int) {
		for range calls {
			asked := false
			r.Until(func() (done, stop bool) { asked = true; return answer, false })
			if asked {
				tried++
			}
		}
		return tried
	}
	if n := tries(100, true); n != 100 {
		t.Errorf("%d of 100 tries, though each helped", n)
	}
	if n := tries(400, false); n > 20 {
		t.Errorf("%d of 400 tries, though none helped", n)
	}
	if n := tries(1<<16, true); n < 1<<15 {
		t.Errorf("%d of %d tries once it helped again", n, 1<<16)
	}
}

// TestRoundsInACrowd: many who wait in vain don't keep each other awake.
func TestRoundsInACrowd(t *testing.T) {
	var all sync.WaitGroup
	for range 500 {
		all.Go(func() {
			var r Rounds
			looks := 0
			r.Until(func() (done, stop bool) { looks++; return false, false })
			if looks > mostRounds+2 {
				t.Errorf("%d looks", looks)
			}
		})
	}
	all.Wait()
}

// TestRoundsStop: a look that stops teaches nothing.
func TestRoundsStop(t *testing.T) {
	var r Rounds
	for range 100 {
		rivals = lesson{} // another goroutine or process may want the CPU
		looks := 0
		if r.Until(func() (done, stop bool) { looks++; return false, looks == 2 }) || looks != 2 {
			t.Fatalf("stopped after %d looks", looks)
		}
	}
}

func TestTurnsLearn(t *testing.T) {
	var turns Turns
	looks := func(answerAt int) (n int, ok bool) {
		ok = turns.Until(func() bool { n++; return n == answerAt })
		return n, ok
	}
	gaveUp := false
	crowded.Store(0)
	for range 20 { // no answer ever
		n, _ := looks(-1)
		gaveUp = gaveUp || n == 0
	}
	if !gaveUp {
		t.Error("never gives up")
	}
	for range 2 * longRest {
		if n, ok := looks(1); n > 0 {
			if n != 1 || !ok {
				t.Errorf("%d looks, %v", n, ok)
			}
			return
		}
	}
	t.Error("never tries again")
}
