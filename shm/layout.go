package shm

import (
	"fmt"
	"hash/fnv"
	"io"
	"reflect"
	"sync"
)

// Size returns the number of bytes that a T takes in shared memory: what a Region for At must have, and what a segment for
// one T is created with.
func Size[T any]() int { return int(reflect.TypeFor[T]().Size()) }

var layouts sync.Map // reflect.Type -> uint64

// Layout returns a number that tells the layouts of types apart: kinds, sizes and offsets, and the names of fields.
// Programs that were built at different times compare it before they read each other's bytes as a T. Layout remembers the
// number of each type.
func Layout[T any]() uint64 {
	t := reflect.TypeFor[T]()
	known, ok := layouts.Load(t)
	if !ok {
		sum := fnv.New64a()
		describe(sum, t)
		known, _ = layouts.LoadOrStore(t, sum.Sum64())
	}
	return known.(uint64)
}

func describe(w io.Writer, t reflect.Type) {
	fmt.Fprintf(w, "%v %d", t.Kind(), t.Size())
	switch t.Kind() {
	case reflect.Array:
		fmt.Fprintf(w, "[%d]", t.Len())
		describe(w, t.Elem())
	case reflect.Struct:
		fmt.Fprint(w, "{")
		for f := range t.Fields() {
			fmt.Fprintf(w, "%s %d ", f.Name, f.Offset)
			describe(w, f.Type)
			fmt.Fprint(w, ";")
		}
		fmt.Fprint(w, "}")
	}
}
