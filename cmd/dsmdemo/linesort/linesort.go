// Package linesort sorts the lines of a text that several processes share. It is the algorithm of a
// parallel sort and nothing else: it works on a text and on an index of it, wherever they lie, and knows of
// no process, segment or file. The result is what LC_ALL=C sort prints: lines in the order of their bytes,
// of which NUL and 0xFF are none special, a line before those that continue it, and a newline after each.
//
// A text is any bytes that end with a newline. What follows its last newline is no line yet: a caller that puts files
// together adds one to a file that ends without. The output has as many bytes as the text.
//
// A sort has four steps. Each is divided among as many processes as one likes, with a barrier before the next:
//
//	Count  the lines of a range of the text, best while its bytes are still in the processor's cache
//	Fill   a part of the index with the lines of a range, and Sort the part
//	Cut    the parts where one's share of the output begins, and where it ends
//	Merge  the share, which has a known place and size, and write it there
//
// Ranges need not end where lines do, and there may be more parts and shares than processes, so
// that a fast process can take more of them. Many parts are quicker to sort and slower to merge:
// with 4 to 16 for each process, of up to 64 MB of text, the sum is near its least.
//
// Memory: the text, EntrySize bytes for each line, and 64 KiB for each Merger that is at work.
// Sort works in place, with a stack of a few KiB.
//
// Fill and Sort write to their part, and nothing else writes anywhere. While they do, others must leave the part
// alone; the text is only read. Bytes that change nevertheless, or never made sense, give a wrong order or
// ErrCorrupt, but no panic. Nothing here waits or takes a context: a million lines are sorted in about 0.1 s,
// whatever they are (no input is quadratic), so that a caller that may be cancelled looks at its context between two calls.
package linesort

import (
	"errors"
	"structs"
)

// Entry stands for one line of a text. It has no pointer, and means the same wherever the text is
// mapped. Its fields are:
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

// ErrCorrupt says that the index and the text don't belong together, or that one of them has been
// written to in the meantime.
var ErrCorrupt = errors.New("the index does not fit the text")
