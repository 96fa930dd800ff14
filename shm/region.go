// Package shm gives shared bytes a shape: a Region is a bounded window on them, an Offset a place in it, At and
// SliceOf typed windows that are checked before they are made.
//
// It knows nothing of where the bytes come from. A Region may lie over a segment, a file or a heap
// slice, and whatever lives in one is written in offsets, never in Go pointers: each process has the bytes at
// another address, and the garbage collector does not look there.
//
// What it does not promise: that the bytes stay mapped (that is the owner's affair), or that what a
// neighbour wrote makes sense. Load a word once, check the local copy, use the local copy.
package shm

import (
	"fmt"

	"github.com/godsm/godsm/internal/errkind"
)

// ErrCorrupt says that a place or a value is invalid. It is the same value as dsm.ErrCorrupt.
var ErrCorrupt = errkind.Corrupt

// Offset is a distance in bytes from the start of a Region. It means the same in every process.
type Offset uint64

// Region is a bounded window on bytes. Copies share the bytes; the zero Region is empty. It is valid as long
// as the bytes are, which its View tells.
type Region struct {
	b    []byte
	view *View // nil: the bytes never end
}

// NewRegion returns the window on all of b, for bytes that never end.
func NewRegion(b []byte) Region { return Region{b[:len(b):len(b)], nil} }

// Under returns the same window for bytes that end with v.
func (r Region) Under(v *View) Region { return Region{r.b, v} }

// View returns the view that the bytes end with, nil if they never do.
func (r Region) View() *View { return r.view }

// Len returns the number of bytes.
func (r Region) Len() int { return len(r.b) }

// Bytes returns the n bytes at off, in place.
func (r Region) Bytes(off Offset, n int) ([]byte, error) {
	if n < 0 || uint64(off) > uint64(len(r.b)) || uint64(n) > uint64(len(r.b))-uint64(off) {
		return nil, errkind.As(ErrCorrupt,
			fmt.Errorf("%d bytes at offset %d are outside a region of %d", n, off, len(r.b)))
	}
	return r.b[off : int(off)+n : int(off)+n], nil
}

// Sub returns the window on the n bytes at off. Offsets in it count from its own start.
func (r Region) Sub(off Offset, n int) (Region, error) {
	b, err := r.Bytes(off, n)
	return Region{b, r.view}, err
}
