package dsa

import (
	"github.com/godsm/godsm/shm"
)

// Ref is the Pointer of a T, a type that may lie in shared memory (see shm.Check).
type Ref[T any] Pointer

// New allocates a T, all zero, and returns its Ref and the T in place, which is valid as In says. A type that may not
// lie in shared memory is an error of shm.Check; else errors and waits are those of Alloc.
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

// In returns the T, in place: valid until it is freed or the area is detached. Other sessions may read and write it at
// the same time, so it needs atomics or a lock. Errors are those of Bytes; an object that is smaller than a T is
// ErrCorrupt. An object of another type that is large enough is not found out: the caller has converted the Ref on its
// own responsibility.
func (r Ref[T]) In(a *Area) (*T, error) {
	b, err := a.Bytes(Pointer(r))
	if err != nil {
		return nil, err
	}
	return shm.At[T](shm.NewRegion(b), 0)
}

// Free frees the object, as Area.Free does.
func (r Ref[T]) Free(a *Area) error { return a.Free(Pointer(r)) }
