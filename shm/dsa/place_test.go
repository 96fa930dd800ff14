package dsa_test

import (
	"errors"
	"testing"

	"github.com/godsm/godsm/shm/dsa"
)

func TestAllocBytesIntoReturnsTheObjectOfTheWord(t *testing.T) {
	for _, checked := range []bool{false, true} {
		o := small
		o.Checked = checked
		a := create(t, &dsa.Heap{}, 1, o)
		owner, err := a.AllocZeroed(64)
		if err != nil {
			t.Fatal(err)
		}
		at, err := a.Place(owner, 8)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range []int{1, 16, 17, 1000, 9000, 100_000, 400_000} {
			p, b, err := a.AllocBytesInto(n, at)
			if err != nil {
				t.Fatal(err)
			}
			same, err := a.Bytes(at.Pointer())
			if err != nil || p != at.Pointer() || len(b) != n || cap(b) != n || len(same) != n || &same[0] != &b[0] {
				t.Errorf("%d bytes, checked %t: %d of %d at %v, and the word owns %d at %v, %v",
					n, checked, len(b), cap(b), p, len(same), at.Pointer(), err)
			}
			if err := a.FreeFrom(at); err != nil || at.Pointer() != 0 {
				t.Errorf("%d bytes: the word owns %v after FreeFrom: %v", n, at.Pointer(), err)
			}
		}
		if _, _, err := a.AllocBytesInto(0, at); !errors.Is(err, dsa.ErrSize) || at.Pointer() != 0 {
			t.Errorf("0 bytes: %v", err)
		}
		if _, _, err := a.AllocBytesInto(16, dsa.Place{}); !errors.Is(err, dsa.ErrPointer) {
			t.Errorf("into the zero Place: %v", err)
		}
		if err := a.Detach(); err != nil {
			t.Error(err)
		}
		if _, b, err := a.AllocBytesInto(16, at); !errors.Is(err, dsa.ErrClosed) || b != nil {
			t.Errorf("after Detach: %d bytes, %v", len(b), err)
		}
	}
}
