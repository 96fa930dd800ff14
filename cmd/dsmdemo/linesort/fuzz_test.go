package linesort_test

import (
	"bytes"
	"testing"
)

// FuzzSort makes lines of the fuzzer's bytes, with every L stretched, so that lines may have any
// length, and compares with the naive sort.
func FuzzSort(f *testing.F) {
	f.Add([]byte("b\na\n\nab\nb"), uint8(2), uint8(2), uint16(3), uint16(0))
	f.Add([]byte("L\nLa\nL\x00\nLL\nL\nL"), uint8(3), uint8(4), uint16(1000), uint16(65527))
	f.Add(bytes.Repeat([]byte("same\nother\x00\n"), 300), uint8(9), uint8(3), uint16(100), uint16(1))
	f.Fuzz(func(t *testing.T, text []byte, parts, shares uint8, buffer, stretch uint16) {
		if n := bytes.Count(text, []byte("L")) * int(stretch); n > 1<<19 {
			t.Skip("too large")
		}
		text = bytes.ReplaceAll(append(text, '\n'), []byte("L"), bytes.Repeat([]byte("L"), int(stretch)))
		p := plan{int(parts)%70 + 1, int(shares)%20 + 1, int(buffer) + 1}
		if got, want := sorted(t, text, p), naive(text); !bytes.Equal(got, want) {
			t.Errorf("%+v of %.200q:\n got %.200q\nwant %.200q", p, text, got, want)
		}
	})
}
