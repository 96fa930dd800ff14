package linesort

import (
	"encoding/binary"
	"fmt"
	"io"
)

// Merger reads one share of the sorted lines.
type Merger struct {
	text    []byte
	parts   []stream
	round   []Entry // room for the entries of one round
	swap    []Entry // as large
	ends    []int   // of the sorted runs in round
	ready   []Entry // in order, not yet copied
	rest    []byte  // of a line that was too long for the reader's buffer
	newline bool    // to be written after rest
	left    int64   // bytes to be read
	touched byte    // the sum of what was touched, so that the compiler can't leave it out
}

// stream is what remains of a part.
type stream struct {
	lines   []Entry
	fetched int // so many of them have had their text touched
}

// roundSize is how many lines are ordered before they are copied: few enough for their text to stay in a cache of 1 MB.
const roundSize = 2048

// Merge starts the merge of the share that begins with the cut from and ends before the cut to of the sorted parts.
// The share has Size(parts, to) - Size(parts, from) bytes. Cuts that are not of these parts are ErrCorrupt.
func Merge(text []byte, parts [][]Entry, from, to []int) (*Merger, error) {
	m := &Merger{text: text}
	if len(from) != len(parts) || len(to) != len(parts) {
		return nil, fmt.Errorf("cuts for %d and %d parts, not %d: %w", len(from), len(to), len(parts), ErrCorrupt)
	}
	for p, part := range parts {
		lo, hi := from[p], to[p]
		if lo < 0 || hi < lo || hi > len(part) {
			return nil, fmt.Errorf("entries %d to %d of the %d in part %d: %w", lo, hi, len(part), p, ErrCorrupt)
		}
		if lo < hi {
			m.parts = append(m.parts, stream{lines: part[lo:hi]})
		}
	}
	m.left = Size(parts, to) - Size(parts, from)
	n := max(roundSize, 16*len(m.parts))
	m.round, m.swap, m.ends = make([]Entry, n), make([]Entry, n), make([]int, 0, len(m.parts)+1)
	return m, nil
}

// Read fills b with the next bytes of the share, as io.Reader: with all of len(b), except at the end.
// Buffers of 256 KiB to 1 MiB are best. A share whose lines don't make up its size is ErrCorrupt.
func (m *Merger) Read(b []byte) (n int, err error) {
	for n < len(b) && err == nil {
		switch {
		case len(m.rest) > 0:
			k := copy(b[n:], m.rest)
			n, m.rest = n+k, m.rest[k:]
		case m.newline:
			b[n] = '\n'
			n, m.newline = n+1, false
		case len(m.ready) > 0:
			n, err = m.copyLines(b, n)
		case len(m.parts) > 0:
			err = m.order()
		default:
			err = io.EOF
		}
	}
	m.left -= int64(n)
	if m.left < 0 || m.left > 0 && err == io.EOF {
		err = fmt.Errorf("the share has %d bytes less than its entries say: %w", m.left, ErrCorrupt)
	}
	return n, err
}

// copyLines copies ready lines to b[n:] and returns the new n.
func (m *Merger) copyLines(b []byte, n int) (int, error) {
	text := m.text
	for i, e := range m.ready {
		at, size := e.ref.off(), e.ref.size()
		// Words cost less than a call. What they write too much is overwritten by the next line.
		const wide = 96
		if size <= wide && n+wide < len(b) && at+wide <= len(text) {
			to, from := b[n:n+wide+1], text[at:at+wide]
			copy32(to, from)
			if size > 32 {
				copy32(to[32:], from[32:])
				copy32(to[64:], from[64:])
			}
			to[size] = '\n'
			n += size + 1
			continue
		}
		line, ok := e.ref.line(text)
		if !ok {
			return n, fmt.Errorf("an entry refers to byte %d of a text of %d: %w", at, len(text), ErrCorrupt)
		}
		if n+len(line) >= len(b) {
			m.rest, m.newline, m.ready = line, true, m.ready[i+1:]
			return n, nil
		}
		n += copy(b[n:], line)
		b[n] = '\n'
		n++
	}
	m.ready = nil
	return n, nil
}

func copy32(to, from []byte) {
	to, from = to[:32], from[:32]
	e := binary.NativeEndian
	e.PutUint64(to, e.Uint64(from))
	e.PutUint64(to[8:], e.Uint64(from[8:]))
	e.PutUint64(to[16:], e.Uint64(from[16:]))
	e.PutUint64(to[24:], e.Uint64(from[24:]))
}
