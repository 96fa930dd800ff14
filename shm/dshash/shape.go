package dshash

import (
	"fmt"
	"reflect"

	"github.com/godsm/godsm/internal/hashing"
	"github.com/godsm/godsm/shm"
)

// The shape of a table: what all processes that share it must take it for. It is computed from the types of key and
// value when a table is created or attached, and compared with the header; no lookup asks for it. Types are refused
// whose values do not lie in shared memory in one piece, or for which equal keys could have different bytes.

// shape is what processes must agree on to share a table. It is constant.
type shape struct {
	kind uint32
	// keySize and valueSize are in bytes, of a Table; 0 in a Bytes.
	keySize   uint32
	valueSize uint32
	// valueAt is the offset of the value in an item, and size the item's length. Both are 0 in a Bytes.
	valueAt int
	size    int
	// layout is a hash of the layouts of both types: kinds, offsets, and names of fields.
	layout uint64
}

// shapeOf returns the shape of a table of K and V. The error names the type that can't be in one, the field, and what
// to do.
func shapeOf[K comparable, V any]() (s shape, err error) {
	k, v := reflect.TypeFor[K](), reflect.TypeFor[V]()
	if err := shm.Check[K](); err != nil {
		return s, fmt.Errorf("dshash: key: %w", err)
	}
	if err := checkKey(k, k.String()); err != nil {
		return s, fmt.Errorf("dshash: key: %w", err)
	}
	if err := shm.Check[V](); err != nil {
		return s, fmt.Errorf("dshash: value: %w", err)
	}
	// The sizes of an item are computed below as int, of 32 bits on some systems: with these bounds they do not
	// overflow.
	if k.Size() == 0 || uint64(k.Size()) > maxFixed || uint64(v.Size()) > maxFixed {
		return s, fmt.Errorf("dshash: %v and %v have %d and %d bytes: a key has at least 1, and neither more than %d",
			k, v, k.Size(), v.Size(), maxFixed)
	}
	align := max(v.Align(), 1)
	at := (int(k.Size()) + align - 1) &^ (align - 1)
	layout := hashing.Mix(shm.Layout[K]()^hashing.Odd0, shm.Layout[V]()^hashing.Odd1)
	return shape{kindFixed, uint32(k.Size()), uint32(v.Size()), at, at + int(v.Size()), layout}, nil
}

// maxFixed is the size in bytes that a key or a value of a Table can have at most.
const maxFixed = 1 << 30

// checkKey returns an error unless equal keys of type t have equal bytes, and unequal keys different ones: keys are
// compared as bytes. Path names the type, or the field of a key, in the error.
func checkKey(t reflect.Type, path string) error {
	refuse := func(why string) error {
		return fmt.Errorf("%s is a %v and can't be in a key, since %s", path, t, why)
	}
	switch t.Kind() {
	case reflect.Float32, reflect.Float64, reflect.Complex64, reflect.Complex128:
		return refuse("equal floats can have different bytes: use math.Float64bits or an integer")
	case reflect.Array:
		return checkKey(t.Elem(), path+"[]")
	case reflect.Struct:
		end := uintptr(0)
		for f := range t.Fields() {
			if f.Name == "_" && f.Type.Size() > 0 {
				return refuse(fmt.Sprintf("its blank field of %d bytes is not compared: give it a name, and set it",
					f.Type.Size()))
			}
			// The bytes of padding are whatever the memory had.
			if f.Offset != end {
				return refuse(fmt.Sprintf("there is padding before the field %s: "+
					"put larger fields first, or fill the gap with a named field", f.Name))
			}
			if err := checkKey(f.Type, path+"."+f.Name); err != nil {
				return err
			}
			end = f.Offset + f.Type.Size()
		}
		if end != t.Size() {
			return refuse("there is padding at its end: fill it with a named field")
		}
	}
	return nil
}
