package shared

import (
	"structs"
	"sync/atomic"
)

// textSize is how many bytes a text has at most.
const textSize = 120

// text is a text for people, or for a driver. It is read while it is written: any bytes are harmless.
type text struct {
	_      structs.HostLayout
	length atomic.Uint32
	_      [4]byte
	words  [textSize / 8]atomic.Uint64
}

func (t *text) store(s string) {
	var b [textSize]byte
	n := copy(b[:], s)
	t.length.Store(0)
	for i := range t.words {
		var w uint64
		for k := range 8 {
			w |= uint64(b[8*i+k]) << (8 * k)
		}
		t.words[i].Store(w)
	}
	t.length.Store(uint32(n))
}

func (t *text) load() string {
	var b [textSize]byte
	n := min(t.length.Load(), uint32(len(b)))
	for i := range t.words {
		w := t.words[i].Load()
		for k := range 8 {
			b[8*i+k] = byte(w >> (8 * k))
		}
	}
	return string(b[:n])
}
