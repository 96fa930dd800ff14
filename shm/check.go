package shm

import (
	"fmt"
	"reflect"
	"sync"
)

var checked sync.Map // reflect.Type -> error (nil if the type may be shared)

// Check reports whether values of T may lie in shared memory: booleans, fixed-size numbers, the fixed-size types of
// sync/atomic, and arrays and structs of those. The error names the field that may not and says what to use. The
// answer is remembered by type.
func Check[T any]() error {
	t := reflect.TypeFor[T]()
	known, ok := checked.Load(t)
	if !ok {
		known, _ = checked.LoadOrStore(t, verdict{check(t, t.String())})
	}
	return known.(verdict).err
}

type verdict struct{ err error }

func check(t reflect.Type, path string) error {
	switch t.Kind() {
	case reflect.Bool, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64, reflect.Uint8, reflect.Uint16,
		reflect.Uint32, reflect.Uint64, reflect.Float32, reflect.Float64, reflect.Complex64, reflect.Complex128:
		return nil
	case reflect.Array:
		return check(t.Elem(), path+"[]")
	case reflect.Struct:
		if t.PkgPath() == "sync" {
			return refuse(path, t, "it works inside one process only: use a lock of shm/shmsync")
		}
		for f := range t.Fields() {
			if err := check(f.Type, path+"."+f.Name); err != nil {
				return err
			}
		}
		return nil
	case reflect.Int, reflect.Uint:
		return refuse(path, t, fmt.Sprintf("its size differs between processes: use %v32 or %v64", t.Kind(), t.Kind()))
	case reflect.Uintptr:
		return refuse(path, t, "an address means nothing in another process: use shm.Offset")
	case reflect.String, reflect.Slice:
		return refuse(path, t, "its bytes are elsewhere: use an array, or an shm.Offset and a length")
	case reflect.Pointer, reflect.UnsafePointer:
		return refuse(path, t, "an address means nothing in another process: use shm.Offset")
	}
	return refuse(path, t, "it points into this process's own memory: use fixed-size values and shm.Offset")
}

func refuse(path string, t reflect.Type, why string) error {
	return fmt.Errorf("%s is a %v and can't lie in shared memory, since %s", path, t, why)
}
