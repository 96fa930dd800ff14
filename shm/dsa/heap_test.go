package dsa

import (
	"context"
	"fmt"
	"testing"

	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/shmsync"
)

// OwnSpans has a session take spans for itself at once, however little it uses of their class.
func OwnSpans(a *Area) {
	a.lockStripes()
	defer a.unlockStripes()
	for i := range classes {
		a.heaps[i].shared = shareFor * classes[i].objects
	}
}

// inTwoLists has a session's span in more lists than one.
var inTwoLists = map[string]func(h *heap){
	"room and current":  func(h *heap) { h.putRoom(h.cur) },
	"room and full":     func(h *heap) { h.putRoom(h.cur); h.putFull(h.cur) },
	"full and room":     func(h *heap) { h.putFull(h.cur); h.putRoom(h.cur) },
	"room, three times": func(h *heap) { h.putRoom(h.cur); h.putRoom(h.cur); h.putRoom(h.cur) },
}

func someone(row int) shmsync.Self {
	return shmsync.Self{
		Peer: shmsync.Peer{Row: row, Incarnation: 1}, Alive: func(shmsync.Peer) bool { return true },
	}
}

func inPlace(t *testing.T, row int) *Area {
	t.Helper()
	a, err := CreateInPlace(shm.NewRegion(alignedBytes(1<<20)), nil, someone(row), Options{Sessions: 2})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestSpanInTwoListsIsGivenOnce has a session give its spans back, by Trim or when it detaches, that are in more lists
// than one, as they come to be after a stray store: each goes back once.
func TestSpanInTwoListsIsGivenOnce(t *testing.T) {
	for name, twice := range inTwoLists {
		for _, end := range []string{"trim", "detach"} {
			for _, objects := range []int{0, 1, 63} { // what stays in the span: nothing, little, no room
				t.Run(fmt.Sprint(name, " ", end, " ", objects), func(t *testing.T) {
					ctx := context.Background()
					a := inPlace(t, 1)
					b, err := AttachInPlace(ctx, shm.NewRegion(a.maps[0].Load().bytes), nil, someone(2))
					if err != nil {
						t.Fatal(err)
					}
					OwnSpans(a)
					var ps []Pointer
					for range max(objects, 1) {
						p, err := a.Alloc(1024)
						if err != nil {
							t.Fatal(err)
						}
						ps = append(ps, p)
					}
					if objects == 0 {
						if err := a.Free(ps[0]); err != nil {
							t.Fatal(err)
						}
					}
					twice(&a.heaps[classOf(1024)])
					if end == "trim" {
						err = a.Trim(ctx)
					} else {
						err = a.Detach()
					}
					if err != nil {
						t.Error(err)
					}
					rep, err := b.Verify(ctx)
					if err != nil || len(rep.Problems) > 0 || rep.Objects != objects {
						t.Errorf("%d objects, not %d; %v; %v", rep.Objects, objects, err, rep.Problems)
					}
				})
			}
		}
	}
}

// TestSpanInTwoListsComesToAnEnd has a session with a span of its own in two lists, as it comes to be when others took
// the session for dead and it found its span anew: Alloc and Free come to an end, and give no block twice.
func TestSpanInTwoListsComesToAnEnd(t *testing.T) {
	const size = 1000
	for name, twice := range inTwoLists {
		t.Run(name, func(t *testing.T) {
			a := inPlace(t, 1)
			OwnSpans(a)
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
