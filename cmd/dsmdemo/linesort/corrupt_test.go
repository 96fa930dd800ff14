package linesort

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestWrongIndex(t *testing.T) {
	text := []byte("one\ntwo\nthree\n")
	index := func(n int) []Entry { return make([]Entry, n) }
	good := index(3)
	if err := errors.Join(Fill(good, text, 0, len(text)), Sort(text, good)); err != nil {
		t.Fatal(err)
	}
	other := bytes.Repeat([]byte("other\n"), 3)
	for name, err := range map[string]error{
		"room for more lines":  Fill(index(4), text, 0, len(text)),
		"room for fewer lines": Fill(index(2), text, 0, len(text)),
		"room for none":        Fill(index(0), text, 5, 8),
		"bytes beyond the end": Fill(index(3), text, 0, len(text)+1),
		"bytes in reverse":     Fill(index(0), text, 2, 1),
		"an offset too far":    Sort(text, []Entry{{ref: newRef(100, 1)}}),
		"a line too long":      Sort(text, []Entry{{ref: newRef(8, 6)}}),
		"a long line":          Sort(text, []Entry{{ref: newRef(0, long)}}),
		"huge offsets":         Sort(text, slices.Repeat([]Entry{{ref: ^ref(0)}}, 100)),
		"many long lines":      Sort(text, slices.Repeat([]Entry{{ref: newRef(0, long)}, {ref: newRef(4, long)}}, 50)),
		"a shorter text":       read(text[:9], [][]Entry{good}, []int{0}, []int{3}),
		"another text":         read(other, [][]Entry{good}, []int{0}, []int{3}),
		"cuts of other parts":  read(text, [][]Entry{good}, []int{0, 0}, []int{3, 3}),
		"a cut too far":        read(text, [][]Entry{good}, []int{0}, []int{4}),
		"a negative cut":       read(text, [][]Entry{good}, []int{-1}, []int{3}),
		"cuts in reverse":      read(text, [][]Entry{good}, []int{2}, []int{1}),
		"sizes too small":      read(text, [][]Entry{{{key: 3, ref: newRef(0, 3)}}}, []int{0}, []int{1}),
		"sizes too large":      read(text, [][]Entry{{{key: 5, ref: newRef(0, 3)}}}, []int{0}, []int{1}),
	} {
		// Another text may happen to have lines in the same places: then it is sorted wrongly.
		if !errors.Is(err, ErrCorrupt) && name != "another text" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func read(text []byte, parts [][]Entry, from, to []int) error {
	m, err := Merge(text, parts, from, to)
	if err == nil {
		_, err = io.ReadAll(m)
	}
	return err
}

// TestGarbage feeds entries that another process has scribbled over. There must be an error or some
// order, but no panic.
func TestGarbage(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	text := make([]byte, 100_000)
	for i := range text {
		text[i] = "abcdefgh\n\x00"[r.IntN(8+i%3)]
	}
	copy(text[20_000:90_000], bytes.Repeat([]byte("x"), 70_000))
	for round := range 300 {
		parts := make([][]Entry, 3)
		for p := range parts {
			parts[p] = make([]Entry, 200)
			for i := range parts[p] {
				e := Entry{key: r.Uint64() >> (8 * r.IntN(8)), ref: newRef(r.IntN(len(text)+20), r.IntN(20))}
				switch r.IntN(3 + round) {
				case 0:
					e.ref = ref(r.Uint64())
				case 1:
					e.ref |= long
				case 2:
					e.key = 0 // and then many are equal
				}
				parts[p][i] = e
			}
		}
		if round%2 == 0 {
			for _, p := range parts {
				_ = Sort(text, p)
			}
		}
		from, to := Cut(text, parts, 500), Cut(text, parts, 3000)
		_ = read(text, parts, from, to)
		_ = read(text, parts, make([]int, 3), []int{200, 200, 200})
	}
}
