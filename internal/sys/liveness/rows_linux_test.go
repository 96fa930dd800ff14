package liveness

import (
	"path/filepath"
	"slices"
	"testing"
)

func TestHeldRows(t *testing.T) {
	path := filepath.Join(t.TempDir(), "members")
	if err := Create(path); err != nil {
		t.Fatal(err)
	}
	open := func() *Roll {
		r, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(r.Close)
		return r
	}
	eye := open()
	rows, want := []int{}, []bool{}
	for row := range 3 * fewRows {
		rows, want = append(rows, row), append(want, row%3 != 1)
		if row%3 != 1 {
			if took, err := open().Take(row); !took || err != nil {
				t.Fatal(took, err)
			}
		}
	}
	if got := eye.HeldRows(rows); !slices.Equal(got, want) {
		t.Errorf("held are %v", got)
	}
	// As the list alone has it: without it each row is asked for, and the answer is the same.
	if got := eye.listed(3 * fewRows); !slices.Equal(got, want) {
		t.Errorf("the kernel's list has %v", got)
	}
	if got := eye.listed(fewRows); !slices.Equal(got, want[:fewRows]) {
		t.Errorf("of the rows below %d the kernel's list has %v", fewRows, got)
	}
	strange := append([]int{-1, 1 << 20}, rows...)
	if got := eye.HeldRows(strange); !slices.Equal(got[2:], want) || got[1] {
		t.Errorf("beside rows that do not exist, held are %v", got)
	}
}

// TestHeldInForeignLocks: a list is believed only if all of it can be ours.
func TestHeldInForeignLocks(t *testing.T) {
	yes, no := func(int) bool { return true }, func(int) bool { return false }
	for _, c := range []struct {
		name, list string
		isHeld     func(int) bool
		want       []int
	}{
		{"ours", "1: OFDLCK ADVISORY  WRITE -1 fe:00:77 5 5\n2: OFDLCK ADVISORY  WRITE -1 fe:00:77 6 6\n", yes, []int{5, 6}},
		{"none", "", yes, nil},
		{"other inodes", "1: OFDLCK ADVISORY  WRITE -1 fe:00:177 5 5\n2: FLOCK  ADVISORY  WRITE 9 fe:00:77 0 EOF\n", yes, nil},
		{"another file system's", "1: OFDLCK ADVISORY  WRITE -1 fe:01:77 5 5\n", no, nil},
		{"of two file systems", "1: OFDLCK ADVISORY  WRITE -1 fe:00:77 5 5\n2: OFDLCK ADVISORY  WRITE -1 fe:01:77 6 6\n", yes, nil},
		{"a range", "1: OFDLCK ADVISORY  WRITE -1 fe:00:77 0 EOF\n2: OFDLCK ADVISORY  WRITE -1 fe:00:77 3 3\n", yes, []int{3}},
		{"rows that do not exist", "1: OFDLCK ADVISORY  WRITE -1 fe:00:77 -5 -5\n2: OFDLCK ADVISORY  WRITE -1 fe:00:77 8 8\n" +
			"3: OFDLCK ADVISORY  WRITE -1 fe:00:77 99999999999999999999 99999999999999999999\n", yes, nil},
		{"one field more", "1: -> OFDLCK ADVISORY  WRITE -1 fe:00:77 5 5\n", yes, nil},
		{"nonsense", "x\n1: OFDLCK\n: : : : : :77 a b\n\n", yes, nil},
	} {
		var got []int
		for row, held := range heldIn([]byte(c.list), 77, 8, c.isHeld) {
			if held {
				got = append(got, row)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}
