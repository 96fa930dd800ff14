package toc

import (
	"fmt"
	"math"

	"github.com/godsm/godsm/internal/errkind"
)

// Estimator adds up how large a region has to be.
type Estimator struct {
	chunks   uint64
	keys     uint64
	overflow bool
}

// Chunk counts one allocation of n bytes.
func (e *Estimator) Chunk(n int) { e.Chunks(1, n) }

// Chunks counts several allocations of n bytes each.
func (e *Estimator) Chunks(count, n int) {
	if count < 0 || n < 0 || count > 0 && tocChunks(n) > maxChunks/uint64(count) {
		e.overflow = true
		return
	}
	e.chunks += uint64(count) * tocChunks(n)
	e.overflow = e.overflow || e.chunks > maxChunks
}

// Keys counts n insertions.
func (e *Estimator) Keys(n int) {
	if n < 0 || uint64(n) > maxEntries-e.keys {
		e.overflow = true
		return
	}
	e.keys += uint64(n)
}

// Size returns how many bytes all that takes; ErrFull if that is more than a table can hold.
func (e *Estimator) Size() (int, error) {
	head := (headerSize + e.keys*entrySize + Align - 1) / Align
	size := (head + e.chunks) * Align
	if e.overflow || size > math.MaxInt {
		return 0, errkind.As(ErrFull,
			fmt.Errorf("%d chunks of %d bytes and %d keys are more than a table of contents can hold",
				e.chunks, Align, e.keys))
	}
	return int(size), nil
}
