package shared

import (
	"errors"
	"testing"

	"github.com/godsm/godsm/batch"
	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/shmsync"
)

// TestLengthsBeyondAnInt has lengths in shared memory that an int of a 32-bit processor takes for negative: they are
// refused as too long.
func TestLengthsBeyondAnInt(t *testing.T) {
	self := shmsync.Self{
		Peer: shmsync.Peer{Row: 1, Incarnation: 1}, Alive: func(shmsync.Peer) bool { return true }, View: shm.NewView(nil),
	}
	o := Options{Slots: 64, Command: 16, Result: 64}
	s, err := o.shape()
	if err != nil {
		t.Fatal(err)
	}
	m, err := create(shm.NewRegion(bytesOf(make([]uint64, s.end/8+1))), self, o)
	if err != nil {
		t.Fatal(err)
	}
	l := &leader[command, uint64]{m: m}
	for _, n := range []uint32{1 << 31, 1<<31 + 1, ^uint32(0)} {
		m.head.trouble.length.Store(n)
		if s := m.head.trouble.load(); len(s) != 120 {
			t.Errorf("a text of %#x bytes is %d long", n, len(s))
		}
		m.slots[3].length.Store(n)
		if err := l.read(&item[command]{slot: 3}); !errors.Is(err, ErrCorrupt) {
			t.Errorf("a command of %#x bytes: %v", n, err)
		}
		m.slots[3].extent.Store(n)
		var e *batch.Error
		if _, _, err := m.loadResult(3, nil); !errors.As(err, &e) || !errors.Is(err, ErrResult) {
			t.Errorf("a result of %#x bytes: %v", n, err)
		}
	}
}
