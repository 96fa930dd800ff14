// Package goid tells goroutines apart, for errors about a goroutine that would wait for itself. It is for slow paths: a
// look takes about a microsecond.
package goid

import (
	"bytes"
	"runtime"
	"strconv"
)

// Current returns the number of the calling goroutine. The runtime gives each number once. It is 0 if the runtime's
// text is not the one that this package knows; callers take 0 for "not known".
func Current() uint64 {
	var buf [64]byte // "goroutine 123 [running]:..."
	text := buf[:runtime.Stack(buf[:], false)]
	text, ok := bytes.CutPrefix(text, []byte("goroutine "))
	if !ok {
		return 0
	}
	number, _, _ := bytes.Cut(text, []byte(" "))
	id, _ := strconv.ParseUint(string(number), 10, 64)
	return id
}
