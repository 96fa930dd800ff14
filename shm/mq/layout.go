package mq

import (
	"structs"
	"sync/atomic"
)

// The words of a queue in shared memory, and how each end tells the other what it has done.
//
// Each word has one writer, or is changed by compare-and-swap; there is no lock. Other programs can write the bytes
// too. A number in a onebit word is read right if one bit of it is wrong; of more wrong bits it is any number, and
// its reader checks it. This file does not say which positions are possible: see end.checkPosition.

// What a queue begins with.
const (
	// magic is stored last by Create. It has the version in its topmost byte.
	magic = version<<56 | kind
	// version is the number of this layout. A queue of another one is ErrVersion.
	version = 3
	// kind is "godsmmq" in the order of little-endian bytes.
	kind = 0x71_6d_6d_73_64_6f_67
)

// header is what lies before the ring. doc/structures.md has its offsets, and layout_test.go compares them.
type header struct {
	_ structs.HostLayout
	// magic is not 0 once the queue is there. A process that dies before Create has stored it leaves size alone.
	magic atomic.Uint64
	// size is the onebit word of the ring's length in bytes. Create writes it once; Attach checks it against the
	// region and keeps it in its own memory, so a later store to it harms those alone that attach afterwards.
	size atomic.Uint64
	_    [48]byte
	// sender and receiver are the words of the two ends. Each end writes to its own, and to sleep, bell and peer of
	// the other as said below.
	sender   side
	receiver side
}

// asleep is bit 0 of side.sleep.
const asleep = 1

// taken is added to a peer's word when the end has been attached to. A session's own word has 43 bits.
const taken = 1 << 43
