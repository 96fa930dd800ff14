package linesort

import (
	"errors"
)

// Entry stands for one line.
type Entry struct {
	Key uint64
	Ref uint64
}

var ErrCorrupt = errors.New("an index entry points outside the text")

const (
	lenBits = 16
	long    = 1<<lenBits - 1
)

func ref(off, n int) uint64 { return uint64(off)<<lenBits | uint64(min(n, long)) }
