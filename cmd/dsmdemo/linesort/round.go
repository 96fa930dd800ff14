package linesort

import (
	"fmt"
	"slices"
)

// order puts the next lines of all parts into m.ready.
//
// A merge that compares line after line waits for the memory at each. So it goes in rounds. A window of every part is
// touched, with all loads under way at a time; the window that ends first bounds the round; and what comes up to
// the bound gets its keys from behind the bytes that all these lines have in common, which are many, since they are
// neighbours in the output. From there on keys are compared, in the cache.
func (m *Merger) order() error {
	m.parts = slices.DeleteFunc(m.parts, func(s stream) bool { return len(s.lines) == 0 })
	if len(m.parts) == 0 {
		return nil
	}
	width := len(m.round) / len(m.parts)
	for p := range m.parts {
		if err := m.fetch(&m.parts[p], width); err != nil {
			return err
		}
	}
	if len(m.parts) == 1 {
		m.ready = m.parts[0].take(width)
		return nil
	}
	low, high := m.bounds(width)
	depth := common(low.piece(m.text, 0, long), high.piece(m.text, 0, long))
	m.collect(width, high, depth)
	if len(m.ends) == 1 {
		return fmt.Errorf("a part is not sorted: %w", ErrCorrupt)
	}
	if compare(m.text, low, high, depth) != 0 {
		for len(m.ends) > 2 {
			m.pass(depth)
		}
	}
	m.ready = m.round[:m.ends[len(m.ends)-1]]
	return nil
}

// fetch brings the next lines of a stream near, and checks that they are there.
func (m *Merger) fetch(s *stream, width int) error {
	const line = 64 // bytes of the cache
	text, sum := m.text, m.touched
	for s.fetched < min(width, len(s.lines)) {
		r := s.lines[s.fetched].ref
		end := r.off() + r.size()
		if r.off() < 0 || uint(end) >= uint(len(text)) {
			return fmt.Errorf("an entry refers to byte %d of a text of %d: %w", r.off(), len(text), ErrCorrupt)
		}
		sum += text[r.off()] + text[end]
		for at := r.off() + line; at < min(end, r.off()+4*line); at += line {
			sum += text[at]
		}
		s.fetched++
	}
	m.touched = sum
	return nil
}

// take removes the next lines of a stream, n or what there is.
func (s *stream) take(n int) []Entry {
	taken := s.lines[:min(n, len(s.lines))]
	s.lines, s.fetched = s.lines[len(taken):], max(0, s.fetched-len(taken))
	return taken
}

// bounds finds the first line of the round and its last: no line beyond a window may come before it.
func (m *Merger) bounds(width int) (low, high ref) {
	limited := false
	for p, s := range m.parts {
		more := len(s.lines) > width
		head, last := s.lines[0].ref, s.lines[min(width, len(s.lines))-1].ref
		if p == 0 || compare(m.text, head, low, 0) < 0 {
			low = head
		}
		switch {
		case p == 0 || more && !limited:
			high = last
		case more == limited:
			if c := compare(m.text, last, high, 0); more && c < 0 || !more && c > 0 {
				high = last
			}
		}
		limited = limited || more
	}
	return low, high
}

// collect takes the lines up to high from the windows: one sorted run from each, with keys from depth on.
func (m *Merger) collect(width int, high ref, depth int) {
	n := 0
	m.ends = append(m.ends[:0], 0)
	for p := range m.parts {
		s := &m.parts[p]
		if compare(m.text, s.lines[0].ref, high, 0) > 0 {
			continue
		}
		run := m.round[n:]
		run = run[:copy(run, s.take(1+upTo(m.text, s.lines[1:min(width, len(s.lines))], high, true)))]
		for i := 0; ; i++ {
			if i += loadKeys(m.text, run[i:], depth); i == len(run) {
				break
			}
			run[i].key = run[i].ref.load(m.text, depth)
		}
		n += len(run)
		m.ends = append(m.ends, n)
	}
}

// pass merges every two neighbouring runs of the round.
func (m *Merger) pass(depth int) {
	ends := m.ends
	merged := ends[:1]
	for i := 0; i+1 < len(ends); i += 2 {
		from, mid := ends[i], ends[i+1]
		to := ends[min(i+2, len(ends)-1)]
		mergeTwo(m.text, m.swap[from:to], m.round[from:mid], m.round[mid:to], depth)
		merged = append(merged, to)
	}
	m.ends = merged
	m.round, m.swap = m.swap, m.round
}

// mergeTwo merges two sorted runs with keys from depth on into dst, which has room for both.
func mergeTwo(text []byte, dst, a, b []Entry, depth int) {
	for {
		i, j := mergeKeys(dst, a, b)
		dst, a, b = dst[i+j:], a[i:], b[j:]
		if len(a) == 0 || len(b) == 0 {
			copy(dst[copy(dst, a):], b)
			return
		}
		// The keys are equal. The line that comes first takes along those that Sort has found identical to it.
		from := &a
		if compare(text, a[0].ref, b[0].ref, depth) > 0 {
			from = &b
		}
		n := 1
		for n < len(*from) && (*from)[n].ref == (*from)[0].ref {
			n++
		}
		dst = dst[copy(dst, (*from)[:n]):]
		*from = (*from)[n:]
	}
}

// mergeKeys merges until a run ends or two keys are equal, and says how far it came. It has no
// branch on which key is less.
func mergeKeys(dst, a, b []Entry) (i, j int) {
	for i < len(a) && j < len(b) && i+j < len(dst) {
		x, y := a[i], b[j]
		if x.key == y.key {
			break
		}
		less := 0
		if y.key < x.key { // compiles to a SETcc
			less = 1
		}
		mask := uint64(-less)
		dst[i+j] = Entry{key: x.key ^ (x.key^y.key)&mask, ref: x.ref ^ (x.ref^y.ref)&ref(mask)}
		j += less
		i += 1 - less
	}
	return i, j
}
