package linesort

// Size says how many bytes of output the first cut[p] entries of every sorted part p make.
func Size(parts [][]Entry, cut []int) (n int64) {
	for p, c := range cut {
		n += sizeOf(parts[p], c)
	}
	return n
}

func sizeOf(part []Entry, n int) int64 {
	if n == 0 {
		return 0
	}
	return int64(part[n-1].key)
}

// Cut finds how many entries of every sorted part make up the first size bytes of the output: all lines that
// fit whole. It comes out the same in every process, and a larger size cuts no part earlier. Of identical lines
// those in earlier parts go first, so that they can be divided too. With 64 parts it takes about a millisecond.
func Cut(text []byte, parts [][]Entry, size int64) []int {
	cut, top, try := make([]int, len(parts)), make([]int, len(parts)), make([]int, len(parts))
	for p := range parts {
		top[p] = len(parts[p])
	}
	for {
		// All entries before cut fit and those from top on don't. The middle of the widest part
		// divides what is in doubt.
		w := 0
		for p := range parts {
			if top[p]-cut[p] > top[w]-cut[w] {
				w = p
			}
		}
		if len(parts) == 0 || top[w] == cut[w] {
			return cut
		}
		m := cut[w] + (top[w]-cut[w])/2
		for p := range parts {
			try[p] = cut[p] + upTo(text, parts[p][cut[p]:top[p]], parts[w][m].ref, p < w)
		}
		try[w] = m
		before, line := Size(parts, try), sizeOf(parts[w], m+1)-sizeOf(parts[w], m)
		switch {
		case before > size:
			copy(top, try)
		case before+line > size:
			return try
		default:
			copy(cut, try)
			cut[w]++
		}
	}
}

// upTo counts the entries of a sorted part that come before the line r, with those equal to it or without.
func upTo(text []byte, part []Entry, r ref, equal bool) int {
	lo, hi := 0, len(part)
	for lo < hi {
		m := int(uint(lo+hi) / 2)
		if c := compare(text, part[m].ref, r, 0); c < 0 || c == 0 && equal {
			lo = m + 1
		} else {
			hi = m
		}
	}
	return lo
}
