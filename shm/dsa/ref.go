package dsa

import (
	"github.com/godsm/godsm/shm"
)

// Ref is the Pointer of a T, a type that may lie in shared memory (see shm.Check).
type Ref[T any] Pointer

// New allocates a T, all zero.
func New[T any](a *Area) (Ref[T], *T, error) {
	if err := shm.Check[T](); err != nil {
		return 0, nil, err
	}
	p, err := a.AllocZeroed(max(shm.Size[T](), 1))
	if err != nil {
		return 0, nil, err
	}
	v, err := Ref[T](p).In(a)
	return Ref[T](p), v, err
}

// In returns the T, in place: valid until it is freed or the area is detached. It is found at any
// one's risk whose Ref is of another type.
func (r Ref[T]) In(a *Area) (*T, error) {
	b, err := a.Bytes(Pointer(r))
	if err != nil {
		return nil, err
	}
	return shm.At[T](shm.NewRegion(b), 0)
}

// Free frees the object, as Area.Free does.
func (r Ref[T]) Free(a *Area) error { return a.Free(Pointer(r)) }
