package toc_test

import (
	"fmt"
	"log"

	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/toc"
)

// One process lays out a region, and others find what is in it by keys.
func Example() {
	const magic, limits, rows = 0x72657365, 1, 2 // the program's own numbers
	type bounds struct{ From, To int64 }

	var e toc.Estimator
	e.Chunk(shm.Size[bounds]())
	e.Chunk(100 * shm.Size[uint64]())
	e.Keys(2)
	size, err := e.Size()
	if err != nil {
		log.Fatal(err)
	}
	r := shm.NewRegion(make([]byte, size)) // Segment.Region, of a segment of that size
	t, err := toc.Create(r, magic)
	if err != nil {
		log.Fatal(err)
	}
	if _, err := toc.Put(t, limits, func(b *bounds) error { *b = bounds{10, 20}; return nil }); err != nil {
		log.Fatal(err)
	}
	if _, err := toc.PutSlice[uint64](t, rows, 100, nil); err != nil {
		log.Fatal(err)
	}

	t, err = toc.Attach(r, magic) // another process
	if err != nil {
		log.Fatal(err)
	}
	b, err := toc.Get[bounds](t, limits)
	if err != nil {
		log.Fatal(err)
	}
	list, err := toc.GetSlice[uint64](t, rows)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(b.From, b.To, len(list))
	// Output: 10 20 100
}
