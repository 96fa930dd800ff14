package locktable_test

import (
	"testing"

	"github.com/godsm/godsm/locktable"
)

// TestDeathsThatAreRepairedAreForgotten has sessions end with many locks, each of which the next holder repairs. Each
// death is told once, however many there were: what is repaired takes no room among the notes that a table keeps.
func TestDeathsThatAreRepairedAreForgotten(t *testing.T) {
	const sessions, each = 8, 1500
	ts := new(world).tables(t, 1+sessions, locktable.Options{})
	x := ts[0]
	told := func(from, to int) (n int) {
		for k := from; k < to; k++ {
			h := lock(t, x, ctx, locktable.Exclusive, digest(k))
			if _, died := h.Recovered(); died {
				n++
				must(t, h.Repaired())
			}
			must(t, h.Unlock())
		}
		return n
	}
	for i, dies := range ts[1:] {
		for k := range each {
			lock(t, dies, ctx, locktable.Exclusive, digest(i*each+k))
		}
		dies.Close()
		if n := told(i*each, (i+1)*each); n != each {
			t.Errorf("session %d had %d locks at its end, and %d deaths are told", i, each, n)
		}
	}
	if n := told(sessions*each, (sessions+1)*each); n > 0 {
		t.Errorf("%d deaths are told of names that no session has died with", n)
	}
}
