package dsa_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/godsm/godsm/shm/dsa"
)

// TestPointerSlacks: a pointer whose slack is any other number leads to bytes of its own block, or to nothing.
func TestPointerSlacks(t *testing.T) {
	const slacks = 1 << 16
	step := 1
	if testing.Short() {
		step = 251
	}
	for _, checked := range []bool{false, true} {
		t.Run(fmt.Sprint("checked ", checked), func(t *testing.T) {
			a := create(t, &dsa.Heap{}, 1, dsa.Options{Checked: checked})
			for _, size := range append(dsa.BlockSizes(), 300_000) {
				n := size
				if checked {
					n -= 8
				}
				p := alloc(t, a, n)
				refused := 0
				for slack := 0; slack < slacks; slack += step {
					q := dsa.WithSlack(p, uint64(slack))
					b, err := a.Bytes(q)
					switch {
					case err == nil && (len(b) == 0 || len(b) > n || q != p && checked):
						t.Fatalf("block of %d, slack %d: %d bytes", size, slack, len(b))
					case err == nil:
						continue
					case !errors.Is(err, dsa.ErrPointer):
						t.Fatalf("block of %d, slack %d: %v", size, slack, err)
					}
					refused++
					if slack%7 == 0 {
						if err := a.Free(q); !errors.Is(err, dsa.ErrPointer) {
							t.Fatalf("block of %d, slack %d: Free = %v", size, slack, err)
						}
					}
				}
				if refused == 0 {
					t.Errorf("block of %d: every slack is right", size)
				}
				if err := a.Free(p); err != nil {
					t.Error(err)
				}
			}
			clean(t, a)
		})
	}
}

// TestPointerKeptOverFree: in checked mode the pointer of an object that was freed does not lead to the next one in its
// block, by any session.
func TestPointerKeptOverFree(t *testing.T) {
	for _, n := range []int{1, 100, 5000, 100_000, 400_000} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			var c crowd
			var heap dsa.Heap
			a, err := dsa.Create(ctx, &heap, c.self(1), dsa.Options{Checked: true})
			if err != nil {
				t.Fatal(err)
			}
			old := alloc(t, a, n)
			if err := a.Free(old); err != nil {
				t.Fatal(err)
			}
			var next dsa.Pointer
			for tries := 0; !dsa.SameBlock(next, old); tries++ {
				if next = alloc(t, a, n); tries == 10_000 {
					t.Fatal("the block does not come again")
				}
			}
			b := attach(t, &heap, &c, 2, a.Handle())
			for _, x := range []*dsa.Area{a, b} {
				if _, err := x.Bytes(old); !errors.Is(err, dsa.ErrPointer) {
					t.Errorf("Bytes = %v", err)
				}
				if err := x.Free(old); !errors.Is(err, dsa.ErrPointer) {
					t.Errorf("Free = %v", err)
				}
				if b, err := x.Bytes(next); err != nil || len(b) != n {
					t.Errorf("the object that is there: %d bytes, %v", len(b), err)
				}
			}
			if err := errors.Join(b.Free(next), b.Detach()); err != nil {
				t.Error(err)
			}
			clean(t, a)
		})
	}
}
