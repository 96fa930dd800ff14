package toc

import (
	"fmt"
	"math"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/shm"
)

// Put allocates a T, has init fill it in and inserts it by key: who finds it finds it filled in. T is
// a type that may lie in shared memory (see shm.Check), and at most Align-aligned. Init may be nil.
func Put[T any](t *Toc, key uint64, init func(*T) error) (*T, error) {
	s, err := PutSlice(t, key, 1, func(s []T) error {
		if init == nil {
			return nil
		}
		return init(&s[0])
	})
	if err != nil {
		return nil, err
	}
	return &s[0], nil
}

// PutSlice is Put for n consecutive T.
func PutSlice[T any](t *Toc, key uint64, n int, init func([]T) error) ([]T, error) {
	if err := shm.Check[T](); err != nil {
		return nil, err
	}
	size := shm.Size[T]()
	if n < 0 || size == 0 || n > math.MaxInt/size {
		return nil, errkind.As(errkind.Size, fmt.Errorf("table of contents: putting %d values of %d bytes: the number or the size is invalid", n, size))
	}
	off, err := t.Allocate(n * size)
	if err != nil {
		return nil, err
	}
	s, err := shm.SliceOf[T](t.r, off, n)
	if err != nil {
		return nil, err
	}
	if init != nil {
		if err := init(s); err != nil {
			return nil, err
		}
	}
	return s, t.Insert(key, off, n*size)
}

// Get finds the T that was put by key. Bytes that are no T's are ErrCorrupt.
func Get[T any](t *Toc, key uint64) (*T, error) {
	s, err := GetSlice[T](t, key)
	if err != nil {
		return nil, err
	}
	if len(s) != 1 {
		return nil, errCorruptToc("key %#x stands for %d values of %T, not 1", key, len(s), *new(T))
	}
	return &s[0], nil
}

// GetSlice finds the slice that was put by key.
func GetSlice[T any](t *Toc, key uint64) ([]T, error) {
	r, err := t.Lookup(key)
	if err != nil {
		return nil, err
	}
	size := shm.Size[T]()
	if size == 0 || r.Len()%size != 0 {
		return nil, errCorruptToc("key %#x stands for %d bytes, which are no values of %T", key, r.Len(), *new(T))
	}
	return shm.SliceOf[T](r, 0, r.Len()/size)
}
