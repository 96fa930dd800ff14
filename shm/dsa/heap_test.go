package dsa

import (
	"testing"

	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/shmsync"
)

// TestSpanInTwoListsComesToAnEnd has a session with a span of its own in two lists, as it comes to be when others took
// the session for dead and it found its span anew: Alloc and Free come to an end, and give no block twice.
func TestSpanInTwoListsComesToAnEnd(t *testing.T) {
	const size = 1000
	for name, twice := range map[string]func(h *heap){
		"room and current":  func(h *heap) { h.putRoom(h.cur) },
		"room and full":     func(h *heap) { h.putRoom(h.cur); h.putFull(h.cur) },
		"full and room":     func(h *heap) { h.putFull(h.cur); h.putRoom(h.cur) },
		"room, three times": func(h *heap) { h.putRoom(h.cur); h.putRoom(h.cur); h.putRoom(h.cur) },
	} {
		t.Run(name, func(t *testing.T) {
			self := shmsync.Self{
				Peer: shmsync.Peer{Row: 1, Incarnation: 1}, Alive: func(shmsync.Peer) bool { return true },
			}
			a, err := CreateInPlace(shm.NewRegion(make([]byte, 1<<20)), nil, self, Options{Sessions: 2})
			if err != nil {
				t.Fatal(err)
			}
			fill := func() (list []Pointer) {
				seen := map[Pointer]bool{}
				for {
					p, err := a.Alloc(size)
					if err != nil {
						return list // it is full
					}
					if seen[p] {
						t.Fatalf("%v is allocated twice", p)
					}
					seen[p] = true
					list = append(list, p)
				}
			}
			if _, err := a.Alloc(size); err != nil {
				t.Fatal(err)
			}
			twice(&a.heaps[classOf(size)])
			list := fill()
			for _, p := range list {
				if err := a.Free(p); err != nil {
					t.Fatal(err)
				}
			}
			if n := len(fill()); n == 0 || n > len(list) {
				t.Errorf("%d objects find room after %d were freed", n, len(list))
			}
		})
	}
}
