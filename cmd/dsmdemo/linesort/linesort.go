// Package linesort sorts the lines of a text that several processes share. It is the arithmetic of a parallel sort and
// nothing else: it works on a text and on an index of it, wherever they lie, and knows of no process, segment or file. The
// result is what LC_ALL=C sort prints: lines in the order of their bytes, a shorter line before its continuations, a
// newline after each. NUL and 0xFF are bytes like others.
//
// The text is any bytes that end with a newline; what stands after its last newline is no line yet, so that
// who puts files together gives a newline to a file that ends without one. A sort has four steps, each divided by the
// caller among as many processes as it likes, with a barrier between two steps:
//
//	Count  a range of the text, as soon as its bytes are there (they are still in the processor's cache)
//	Fill   a part of the index with the range's lines, and Sort it, while the others do so with theirs
//	Cut    all parts at the first and the last byte of one's share of the output
//	Merge  the share, and write it where it belongs: its place and size are known beforehand
//
// Ranges need not end at line ends, parts and shares need not be as many as processes: 8 to 16 parts, 16 to 64 MB of text in each,
// keep a part's lines near the processor at little cost for the merge, and shares of some MB let a fast process take more.
// The output has as many bytes as the text.
//
// The memory for it is the text, EntrySize bytes per line for the index, and 64 KiB for each Merger that is at work; Sort is in place.
// Only Sort and Fill write, and only to their part. All the rest may be called concurrently on the same text and
// parts. Nothing waits; a Sort takes about 0.1 s per million lines and has no bad inputs (n log n comparisons of keys, each byte
// of the text loaded a bounded number of times per level of a binary tree); who may be
// cancelled looks at its context between calls.
package linesort

import (
	"errors"
	"structs"
)

// Entry stands for one line of a text. It has no pointer, and means the same wherever the text is mapped. Its fields are:
//
//	offset  size
//	0       8     key: from Fill to Sort, the line's first 8 bytes, big-endian, zeros after its end;
//	              after Sort, the bytes of output of its part, up to and including this line
//	8       8     ref: the line's offset in the text << 16 | its length, at most 65535
type Entry struct {
	_   structs.HostLayout
	key uint64
	ref ref
}

// EntrySize is the size of an Entry in bytes.
const EntrySize = 16

// ErrCorrupt says that the index and the text don't belong together, or that somebody has written to one of them in the meantime.
var ErrCorrupt = errors.New("the index does not fit the text")
