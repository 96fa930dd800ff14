package dshash

import (
	"context"
	"testing"

	"github.com/godsm/godsm/shm/dsa"
	"github.com/godsm/godsm/shm/shmsync"
)

// TestCurrent: a view is that of other arrays once the partition has been rebuilt or a segment of the area has gone back,
// whatever the two numbers are.
func TestCurrent(t *testing.T) {
	a, err := dsa.Create(context.Background(), &dsa.Heap{}, shmsync.Self{Peer: shmsync.Peer{Row: 1, Incarnation: 1}, Alive: func(shmsync.Peer) bool { return true }}, dsa.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for a.Returned() < 3 {
		p, err := a.Alloc(8 << 20)
		if err == nil {
			err = a.Free(p)
		}
		if err == nil {
			err = a.Trim(context.Background())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	back := a.Returned()
	for seen := range uint64(8) {
		for now := range uint64(8) {
			for _, returned := range []uint64{0, back - 1, back, back + 1} {
				p := partition{}
				p.rebuilds.Store(now)
				v := &view{rebuilds: seen, returned: returned}
				if is, want := v.current(&p, a.Returned()), seen == now && returned == back; is != want {
					t.Errorf("rebuilds %d, now %d, returned %d, now %d: current %v", seen, now, returned, back, is)
				}
			}
		}
	}
}
