package control

import (
	"sync/atomic"

	"github.com/godsm/godsm/internal/sys/ordered"
)

// bitsOf returns the reference bits of row i.
func (t *Table) bitsOf(i int) []atomic.Uint64 { return t.bits[i*t.wordsPer:][:t.wordsPer] }

// setBitLocked gives a process row the reference bit of row i, and reports whether it had none before. The caller holds
// the control lock. One store is enough, and no addition: the lock makes this process the only writer of the word.
func (t *Table) setBitLocked(i, process int) bool {
	w, mask := &t.bitsOf(i)[process/64], uint64(1)<<(process%64)
	was := w.Load()
	ordered.Store64(w, was|mask)
	return was&mask == 0
}

// clearBitLocked takes the reference bit of row i from a process row, and reports whether it had one. The caller holds
// the control lock. The process row may be any that a row's bits have room for, also one beyond the process table.
func (t *Table) clearBitLocked(i, process int) bool {
	w, mask := &t.bitsOf(i)[process/64], uint64(1)<<(process%64)
	was := w.Load()
	ordered.Store64(w, was&^mask)
	return was&mask != 0
}

// clearBitsLocked takes all reference bits of row i away. The caller holds the control lock. A death in between leaves
// some of them.
func (t *Table) clearBitsLocked(i int) {
	words := t.bitsOf(i)
	for k := range words {
		ordered.Store64(&words[k], 0)
	}
}

// hasBits reports whether any process row has a reference bit of row i.
func (t *Table) hasBits(i int) bool {
	words := t.bitsOf(i)
	for k := range words {
		if words[k].Load() != 0 {
			return true
		}
	}
	return false
}

// hasOnlyBit reports whether the process row has the only reference bit of row i.
func (t *Table) hasOnlyBit(i, process int) bool {
	words := t.bitsOf(i)
	for k := range words {
		want := uint64(0)
		if k == process/64 {
			want = 1 << (process % 64)
		}
		if words[k].Load() != want {
			return false
		}
	}
	return true
}
