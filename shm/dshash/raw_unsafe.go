package dshash

import (
	"encoding/binary"
	"sync/atomic"
	"unsafe"

	"github.com/godsm/godsm/internal/sys/ordered"
)

// The casts of this package from bytes to words and back. They trust their callers with alignment: an object of the
// area begins at a multiple of 16, and what is cast lies at a multiple of its size in it. They trust them with
// lengths too, but for linesOf and as, whose lengths stand in shared bytes or may be those of an entry that is over.

// wordAt returns the first 8 bytes of b as a word. B begins at a multiple of 8, and callers have checked that it is
// long enough.
func wordAt(b []byte) *atomic.Uint64 { return (*atomic.Uint64)(unsafe.Pointer(&b[:8][0])) }

// lengthsAt returns the first 8 bytes of b as the two lengths with which an item of byte strings begins.
func lengthsAt(b []byte) *[2]atomic.Uint32 { return (*[2]atomic.Uint32)(unsafe.Pointer(&b[:8][0])) }

// cloneAligned copies b to this process's own memory, at a multiple of 8 as items are, so that values in it are aligned.
func cloneAligned(b []byte) []byte {
	c := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(make([]uint64, len(b)/8+1)))), len(b))
	copy(c, b)
	return c
}

// storeCell stores a value for which storedAtOnce reports true, by one instruction. Other processes may read it at the
// same time, without a lock. From has the value's length, and to is at least as long.
func storeCell(to, from []byte) {
	switch len(from) {
	case 8:
		ordered.Store64(wordAt(to), binary.NativeEndian.Uint64(from))
	case 4:
		ordered.Store32((*atomic.Uint32)(unsafe.Pointer(&to[:4][0])), binary.NativeEndian.Uint32(from))
	case 2:
		*(*uint16)(unsafe.Pointer(&to[:2][0])) = binary.NativeEndian.Uint16(from)
	case 1:
		to[0] = from[0]
	}
}

// linesOf returns b, which begins at a multiple of 64 in its segment, as n lines; none if n is 0 or b is shorter. N
// comes from shared bytes: a number that is too large would lead past the end of the segment.
func linesOf(b []byte, n uint64) []line {
	if n == 0 || n > uint64(len(b))/lineSize {
		return nil
	}
	return unsafe.Slice((*line)(unsafe.Pointer(unsafe.SliceData(b))), n)
}

// bytesOf returns the bytes of *v, which a caller reads or fills in place.
func bytesOf[T any](v *T) []byte { return unsafe.Slice((*byte)(unsafe.Pointer(v)), unsafe.Sizeof(*v)) }

// castTo returns b, which is aligned for it, as a T. If b is too short, as after the end of an entry, it returns a new
// zero T, so that a caller that goes on reading meets no fault.
func castTo[T any](b []byte) *T {
	var t T
	if size := unsafe.Sizeof(t); size == 0 || size > uintptr(len(b)) {
		return new(T)
	}
	return (*T)(unsafe.Pointer(&b[:unsafe.Sizeof(t)][0]))
}
