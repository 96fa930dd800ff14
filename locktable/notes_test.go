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

// TestManyDeathsAreTold has a session end with more locks than the table keeps notes of: each next holder hears of a death,
// though not always of whose.
func TestManyDeathsAreTold(t *testing.T) {
	const many = 5_000
	ts := new(world).tables(t, 2, locktable.Options{})
	for k := range many {
		lock(t, ts[1], ctx, locktable.Exclusive, digest(k))
	}
	ts[1].Close()
	known := 0
	for k := range many {
		h := lock(t, ts[0], ctx, locktable.Exclusive, digest(k))
		d, died := h.Recovered()
		if !died {
			t.Fatalf("the death with lock %d of %d is not told", k, many)
		}
		if d.Pid != 0 {
			known++
		}
		must(t, h.Repaired())
		if _, died := h.Recovered(); died {
			t.Fatalf("the death with lock %d is told after Repaired", k)
		}
		must(t, h.Unlock())
	}
	t.Log(known, "of", many)
	if known == 0 {
		t.Error("of no death is known whose it was")
	}
}
