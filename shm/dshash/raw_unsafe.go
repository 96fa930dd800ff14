package dshash

import (
	"encoding/binary"
	"sync/atomic"
	"unsafe"

	"github.com/godsm/godsm/internal/sys/ordered"
)

// wordAt returns the first eight bytes of b, which begins at a multiple of 8 and has as many.
func wordAt(b []byte) *atomic.Uint64 { return (*atomic.Uint64)(unsafe.Pointer(&b[:8][0])) }

// lengthsAt returns the same as two words.
func lengthsAt(b []byte) *[2]atomic.Uint32 { return (*[2]atomic.Uint32)(unsafe.Pointer(&b[:8][0])) }

// cloned is b in this process's own memory, aligned as items are.
func cloned(b []byte) []byte {
	c := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(make([]uint64, len(b)/8+1)))), len(b))
	copy(c, b)
	return c
}

// isCell reports whether a value of so many bytes, at that place in an item, is read and written by one instruction.
func isCell(size, at int) bool {
	switch size {
	case 0:
		return true
	case 1, 2, 4, 8:
		return at%size == 0 && size <= int(unsafe.Sizeof(uintptr(0)))
	}
	return false
}

// storeCell is assign for such a value, which others read meanwhile.
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

// linesOf is b, which begins at a multiple of 16, as n lines; nothing if it has fewer.
func linesOf(b []byte, n uint64) []line {
	if n == 0 || n > uint64(len(b))/lineSize {
		return nil
	}
	return unsafe.Slice((*line)(unsafe.Pointer(unsafe.SliceData(b))), n)
}

// bytesOf is v's bytes.
func bytesOf[T any](v *T) []byte { return unsafe.Slice((*byte)(unsafe.Pointer(v)), unsafe.Sizeof(*v)) }

// as is b, which is aligned, as a T; a zero one if it is too short.
func as[T any](b []byte) *T {
	var t T
	if size := unsafe.Sizeof(t); size == 0 || size > uintptr(len(b)) {
		return new(T)
	}
	return (*T)(unsafe.Pointer(&b[:unsafe.Sizeof(t)][0]))
}
