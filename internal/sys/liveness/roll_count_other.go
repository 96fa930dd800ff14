//go:build !linux

package liveness

// Count says how many of the rows below n are held.
func (r *Roll) Count(n int) (held int, err error) {
	for row := range n {
		if r.Held(row) {
			held++
		}
	}
	return held, nil
}
