//go:build failpoint

package dshash

import (
	"context"
	"testing"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/shm/dsa"
	"github.com/godsm/godsm/shm/shmsync"
)

// TestReserveChangesDuringOverwrite has another process store lengths into the item in the reserve, after those have been
// checked or written, at each point of an update in place: the value is the new one, and no length is followed out of
// the reserve.
func TestReserveChangesDuringOverwrite(t *testing.T) {
	ctx := context.Background()
	self := shmsync.Self{Peer: shmsync.Peer{Row: 1, Incarnation: 1}, Alive: func(shmsync.Peer) bool { return true }}
	a, err := dsa.Create(ctx, new(dsa.Heap), self, dsa.Options{})
	if err != nil {
		t.Fatal(err)
	}
	b, err := CreateBytes(a, Options{Partitions: 1})
	if err != nil {
		t.Fatal(err)
	}
	for _, point := range []string{"decided", "odd", "length", "half", "copied"} {
		if err := b.Set(ctx, []byte("key"), []byte("old value")); err != nil {
			t.Fatal(err)
		}
		e, found, err := b.FindExclusive(ctx, []byte("key"))
		if !found || err != nil {
			t.Fatal(found, err)
		}
		came := false
		stop := failpoint.Watch(func(p string) {
			if p == "dshash/overwrite/"+point {
				came = true
				log, err := a.Bytes(b.t.spared.places[b.t.spared.currentPlace()].Pointer())
				if err != nil {
					t.Error(err)
				}
				for k := range 2 {
					lengthsAt(log[reserveHeader:])[k].Store(^uint32(0))
				}
			}
		})
		ok, err := e.e.overwrite(ctx, []byte("new value"))
		stop()
		e.Release()
		if !ok || err != nil || !came {
			t.Fatalf("%s: %v, %v; the point came: %v", point, ok, err, came)
		}
		if v, _, err := b.Get(ctx, []byte("key"), nil); err != nil || string(v) != "new value" {
			t.Errorf("%s: %q, %v", point, v, err)
		}
	}
}
