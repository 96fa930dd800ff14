package linesort_test

import (
	"fmt"
	"io"
	"log"

	"github.com/godsm/godsm/cmd/dsmdemo/linesort"
)

// Two workers sort a text: every loop below is divided among processes.
func Example() {
	text := []byte("pear\napple\nfig\nbanana\nfig\ncherry\n")
	const workers = 2
	bound := func(i int) int { return len(text) * i / workers }

	var index []linesort.Entry // in shared memory, as text
	parts := make([][]linesort.Entry, workers)
	for i := range workers {
		n := linesort.Count(text[bound(i):bound(i+1)])
		index = append(index, make([]linesort.Entry, n)...)
	}
	for i := range workers {
		n := linesort.Count(text[bound(i):bound(i+1)])
		parts[i], index = index[:n], index[n:]
		if err := linesort.Fill(parts[i], text, bound(i), bound(i+1)); err != nil {
			log.Fatal(err)
		}
		if err := linesort.Sort(text, parts[i]); err != nil {
			log.Fatal(err)
		}
	}
	for i := range workers {
		from, to := linesort.Cut(text, parts, int64(bound(i))), linesort.Cut(text, parts, int64(bound(i+1)))
		m, err := linesort.Merge(text, parts, from, to)
		if err != nil {
			log.Fatal(err)
		}
		b, err := io.ReadAll(m)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%d bytes for byte %d of the output:\n%s", len(b), linesort.Size(parts, from), b)
	}
	// Output:
	// 13 bytes for byte 0 of the output:
	// apple
	// banana
	// 20 bytes for byte 13 of the output:
	// cherry
	// fig
	// fig
	// pear
}
