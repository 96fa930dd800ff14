package waitqueue

import (
	"reflect"
	"testing"

	"github.com/godsm/godsm/internal/testing/layouttest"
)

func TestLayout(t *testing.T) {
	if n := reflect.TypeFor[Record]().Size(); n != 64 {
		t.Errorf("a record has %d bytes", n)
	}
	layouttest.CheckIn(t, "locktable.md", "Lock (16 bytes; `shm/waitqueue/head.go`)", reflect.TypeFor[Head]())
	layouttest.CheckIn(t, "locktable.md", "Record (64 bytes; `shm/waitqueue/record.go`)", reflect.TypeFor[Record]())
}

func TestModes(t *testing.T) {
	for m := None; m < modes; m++ {
		for o := None; o < modes; o++ {
			if m.Conflicts(o) != o.Conflicts(m) {
				t.Errorf("%v conflicts with %v, and not the other way round", m, o)
			}
			j := m.Join(o)
			if !j.Covers(m) || !j.Covers(o) {
				t.Errorf("%v and %v are not covered by %v", m, o, j)
			}
		}
	}
	if IntentExclusive.Join(Shared) != SharedIntent || !Exclusive.Covers(SharedIntent) || Shared.Covers(IntentExclusive) {
		t.Error("the modes are not in order")
	}
	if HoldOf(7, Shared, 5, 9).Row() != 7 || HoldOf(7, Shared, 5, 9).Owner() != 5 || HoldOf(2045, Exclusive, MaxOwner, 1<<28-1).Mode() != Exclusive {
		t.Error("a word does not hold what it was made of")
	}
}

// TestGiveWhileSlowComesAndGoes: a hold in place is given back while others do anything beside it.
func TestGiveWhileSlowComesAndGoes(t *testing.T) {
	var h Head
	stop, over := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(over)
		for {
			select {
			case <-stop:
				return
			default:
				h.Word.Or(uint64(Slow))
				h.Word.And(^uint64(Slow))
			}
		}
	}()
	for i := range uint32(200_000) {
		hold := HoldOf(3, Exclusive, 1, i)
		for !h.TryTake(hold) {
		}
		if _, was := h.Give(hold); !was {
			t.Fatalf("the word is %#x, and the hold %#x", h.Word.Load(), hold)
		}
	}
	close(stop)
	<-over
}
