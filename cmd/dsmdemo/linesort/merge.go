package linesort

import (
	"bytes"
)

// Size is the output bytes of the first cut[p] entries of every part.
func Size(parts [][]Entry, cut []int) (n int64) {
	for p, c := range cut {
		n += ends(parts[p], c)
	}
	return n
}

func ends(part []Entry, n int) int64 {
	if n == 0 {
		return 0
	}
	return int64(part[n-1].Key)
}

// Cut ...
func Cut(text []byte, parts [][]Entry, want int64) []int {
	lo := make([]int, len(parts))
	hi := make([]int, len(parts))
	c := make([]int, len(parts))
	for p := range parts {
		hi[p] = len(parts[p])
	}
	for {
		big := 0
		for p := range parts {
			if hi[p]-lo[p] > hi[big]-lo[big] {
				big = p
			}
		}
		if hi[big] == lo[big] {
			return lo
		}
		m := lo[big] + (hi[big]-lo[big])/2
		pivot := line(text, parts[big][m].Ref)
		size := int64(0)
		for p := range parts {
			c[p] = lo[p] + below(text, parts[p][lo[p]:hi[p]], pivot, p < big)
			if p == big {
				c[p] = m
			}
			size += ends(parts[p], c[p])
		}
		switch {
		case size > want:
			copy(hi, c)
		case size+int64(len(pivot))+1 > want:
			return c
		default:
			copy(lo, c)
			lo[big]++
		}
	}
}

// below counts entries < pivot, or <= if orEqual.
func below(text []byte, part []Entry, pivot []byte, orEqual bool) int {
	lo, hi := 0, len(part)
	for lo < hi {
		m := int(uint(lo+hi) / 2)
		c := bytes.Compare(line(text, part[m].Ref), pivot)
		if c < 0 || c == 0 && orEqual {
			lo = m + 1
		} else {
			hi = m
		}
	}
	return lo
}

type Merger struct {
	text  []byte
	parts [][]Entry
	round []Entry
	swap  []Entry
	ready []Entry
	rest  []byte
	nl    bool
	sink  byte
}

var Round = 4096

func Merge(text []byte, parts [][]Entry, lo, hi []int) *Merger {
	m := &Merger{text: text}
	for p := range parts {
		if lo[p] < hi[p] {
			m.parts = append(m.parts, parts[p][lo[p]:hi[p]])
		}
	}
	n := max(Round, 16*len(m.parts))
	m.round = make([]Entry, n)
	m.swap = make([]Entry, n)
	return m
}

func (m *Merger) Read(p []byte) (n int, err error) {
	for {
		if len(m.rest) > 0 {
			k := copy(p[n:], m.rest)
			n += k
			m.rest = m.rest[k:]
			if len(m.rest) > 0 {
				return n, nil
			}
		}
		if m.nl {
			if n == len(p) {
				return n, nil
			}
			p[n] = '\n'
			n++
			m.nl = false
		}
		if len(m.ready) == 0 && !m.next() {
			return n, nil
		}
		n = m.gather(p, n)
		if n == len(p) {
			return n, nil
		}
	}
}

func (m *Merger) gather(p []byte, n int) int {
	text := m.text
	for i, e := range m.ready {
		k := int(e.Ref & long)
		off := int(e.Ref >> lenBits)
		if k <= 32 && n+33 <= len(p) && off+32 <= len(text) {
			*(*[32]byte)(p[n:]) = *(*[32]byte)(text[off:])
			p[n+k] = '\n'
			n += k + 1
			continue
		}
		if k <= 96 && n+97 <= len(p) && off+96 <= len(text) {
			*(*[32]byte)(p[n:]) = *(*[32]byte)(text[off:])
			*(*[64]byte)(p[n+32:]) = *(*[64]byte)(text[off+32:])
			p[n+k] = '\n'
			n += k + 1
			continue
		}
		l := text[off : off+length(text, e.Ref)]
		if n+len(l)+1 > len(p) {
			m.rest = l
			m.nl = true
			m.ready = m.ready[i+1:]
			return n
		}
		n += copy(p[n:], l)
		p[n] = '\n'
		n++
	}
	m.ready = nil
	return n
}

func (m *Merger) next() bool {
	// drop empties
	k := 0
	for _, p := range m.parts {
		if len(p) > 0 {
			m.parts[k] = p
			k++
		}
	}
	m.parts = m.parts[:k]
	if k == 0 {
		return false
	}
	w := len(m.round) / k
	text := m.text
	s := m.sink
	for _, p := range m.parts {
		for _, e := range p[:min(w, len(p))] {
			s += text[e.Ref>>lenBits] + text[e.Ref>>lenBits+e.Ref&long]
		}
	}
	m.sink = s
	if k == 1 {
		n := min(w, len(m.parts[0]))
		m.ready = m.parts[0][:n]
		m.parts[0] = m.parts[0][n:]
		return true
	}
	var bound []byte
	limited := false
	var first []byte
	for i, p := range m.parts {
		f := line(text, p[0].Ref)
		if i == 0 || bytes.Compare(f, first) < 0 {
			first = f
		}
		if len(p) > w {
			l := line(text, p[w-1].Ref)
			if !limited || bytes.Compare(l, bound) < 0 {
				bound = l
				limited = true
			}
		}
	}
	if !limited {
		for _, p := range m.parts {
			l := line(text, p[len(p)-1].Ref)
			if bytes.Compare(l, bound) > 0 {
				bound = l
			}
		}
	}
	depth := common(first, bound)
	var cuts [300]int
	runs := cuts[:1]
	n := 0
	for i, p := range m.parts {
		c := min(w, len(p))
		if limited {
			c = below(text, p[:c], bound, true)
		}
		if c == 0 {
			continue
		}
		for j := range p[:c] {
			r := p[j].Ref
			key, _ := load(text, r, depth)
			m.round[n] = Entry{key, r}
			n++
		}
		runs = append(runs, n)
		m.parts[i] = p[c:]
	}
	src, dst := m.round[:n], m.swap[:n]
	for len(runs) > 2 {
		o := 1
		i := 2
		for ; i < len(runs); i += 2 {
			mergeTwo(text, dst[runs[i-2]:runs[i]], src[runs[i-2]:runs[i]], runs[i-1]-runs[i-2], depth)
			runs[o] = runs[i]
			o++
		}
		if i == len(runs) {
			copy(dst[runs[i-2]:runs[i-1]], src[runs[i-2]:runs[i-1]])
			runs[o] = runs[i-1]
			o++
		}
		runs = runs[:o]
		src, dst = dst, src
	}
	m.ready = src
	return true
}

func common(a, b []byte) int {
	n := min(len(a), len(b))
	i := 0
	for i < n && a[i] == b[i] {
		i++
	}
	return i
}

func mergeTwo(text []byte, dst, src []Entry, mid, depth int) {
	a, b := src[:mid], src[mid:]
	for {
		i, j := mergeKeys(dst, a, b)
		dst, a, b = dst[i+j:], a[i:], b[j:]
		if len(a) == 0 || len(b) == 0 {
			break
		}
		from, o := &a, 0
		if compare(text, a[0].Ref, b[0].Ref, depth) > 0 {
			from = &b
		}
		for r := (*from)[0].Ref; o < len(*from) && (*from)[o].Ref == r; o++ {
			dst[o] = (*from)[o]
		}
		*from = (*from)[o:]
		dst = dst[o:]
	}
	copy(dst[copy(dst, a):], b)
}

func mergeKeys(dst, a, b []Entry) (i, j int) {
	for i < len(a) && j < len(b) && i+j < len(dst) {
		x, y := a[i], b[j]
		if x.Key == y.Key {
			break
		}
		t := 0
		if y.Key < x.Key {
			t = 1
		}
		m := uint64(-t)
		dst[i+j] = Entry{x.Key ^ (x.Key^y.Key)&m, x.Ref ^ (x.Ref^y.Ref)&m}
		j += t
		i += 1 - t
	}
	return i, j
}
