package liveness

import "slices"

const (
	fewRows  = 48      // are asked for one by one
	mostRows = 1 << 12 // are looked up in the list; what is beyond is asked for one by one
)

// HeldRows reports for each of the rows what Held does. The time that it takes grows with the number of rows alone, where
// that of as many questions one by one grows with its square: the kernel looks through a list for each.
func (r *Roll) HeldRows(rows []int) []bool {
	held := make([]bool, len(rows))
	var listed []bool
	if len(rows) > fewRows {
		listed = r.listed(min(slices.Max(rows)+1, mostRows))
	}
	for i, row := range rows {
		// The list may lack one, never have one too many but for a moment.
		held[i] = row >= 0 && row < len(listed) && listed[row] || r.Held(row)
	}
	return held
}
