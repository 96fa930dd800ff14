package mq_test

import (
	"encoding/binary"
	"errors"
	"testing"

	"github.com/godsm/godsm/internal/onebit"
	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/mq"
	"github.com/godsm/godsm/shm/shmsync"
)

// TestPositionThatCannotBe: words begin at multiples of 8 alone, so a position that does not is ErrCorrupt.
func TestPositionThatCannotBe(t *testing.T) {
	for _, pos := range []uint64{1, 4, 7, 1<<55 + 3} {
		b := make([]byte, mq.Size(64))
		must(mq.Create(shm.NewRegion(b)))
		binary.NativeEndian.PutUint64(b[64:], onebit.Word(pos))  // the sender's
		binary.NativeEndian.PutUint64(b[192:], onebit.Word(pos)) // the receiver's
		q := must(mq.Attach(shm.NewRegion(b)))
		if _, err := q.Sender(liver(1)); !errors.Is(err, mq.ErrCorrupt) {
			t.Errorf("Sender at position %d = %v", pos, err)
		}
		if _, err := q.Receiver(liver(2)); !errors.Is(err, mq.ErrCorrupt) {
			t.Errorf("Receiver at position %d = %v", pos, err)
		}
	}
}

// liver is a session that knows no deaths.
func liver(row int) shmsync.Self {
	return shmsync.Self{
		Peer:  shmsync.Peer{Row: row, Incarnation: 1},
		Alive: func(shmsync.Peer) bool { return true },
	}
}
