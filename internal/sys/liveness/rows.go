package liveness

// fewRows are asked for one by one.
const fewRows = 48

// HeldRows reports for each of the rows what Held does. The time that it takes grows with the number of rows alone, where
// that of as many questions one by one grows with its square: the kernel looks through a list for each.
func (r *Roll) HeldRows(rows []int) []bool {
	held := make([]bool, len(rows))
	var listed map[int]bool
	if len(rows) > fewRows {
		listed = r.listed()
	}
	for i, row := range rows {
		held[i] = listed[row] || r.Held(row) // the list may lack one, never have one too many but for a moment
	}
	return held
}
