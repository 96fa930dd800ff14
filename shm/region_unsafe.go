package shm

import (
	"fmt"
	"unsafe"

	"github.com/godsm/godsm/internal/errkind"
)

// At returns the T at off, in place: a store through the pointer is seen by every process that has the bytes
// mapped. T must hold nothing but fixed-size values (see Check). The pointer is valid as long as the
// region's bytes are. It is safe for concurrent use; what is done through the pointer wants atomics or a lock.
//
// A place outside the region or not aligned for T is ErrCorrupt.
func At[T any](r Region, off Offset) (*T, error) {
	s, err := SliceOf[T](r, off, 1)
	if err != nil {
		return nil, err
	}
	return unsafe.SliceData(s), nil
}

// SliceOf returns n consecutive T that begin at off, in place, under the rules of At.
func SliceOf[T any](r Region, off Offset, n int) ([]T, error) {
	var t T
	if err := Check[T](); err != nil {
		return nil, err
	}
	size := uint64(unsafe.Sizeof(t))
	if n < 0 || size != 0 && uint64(n) > uint64(r.Len())/size {
		return nil, errkind.As(ErrCorrupt,
			fmt.Errorf("%d values of %d bytes are more than a region of %d holds", n, size, r.Len()))
	}
	b, err := r.Bytes(off, n*int(size))
	if err != nil || n == 0 {
		return nil, err
	}
	p := unsafe.Pointer(unsafe.SliceData(b))
	if align := unsafe.Alignof(t); uintptr(p)%align != 0 {
		return nil, errkind.As(ErrCorrupt, fmt.Errorf("offset %d is not aligned to %d bytes for %T", off, align, t))
	}
	return unsafe.Slice((*T)(p), n), nil
}
