package spin

import (
	"runtime"
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
