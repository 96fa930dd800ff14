// Package bytesize writes numbers of bytes for people, in PostgreSQL's units: kB, MB, GB and TB are powers of 1024.
package bytesize

import (
	"fmt"
	"math/bits"
)

var units = [...]string{"B", "kB", "MB", "GB", "TB", "PB", "EB"}

// Format returns n in the largest unit that leaves at least 1, with one decimal where that is not exact: "64 MB", "1.5 GB".
func Format(n uint64) string {
	u := max(0, bits.Len64(n)-1) / 10
	whole, scale := n>>(10*u), uint64(1)<<(10*u)
	if n%scale == 0 {
		return fmt.Sprintf("%d %s", whole, units[u])
	}
	return fmt.Sprintf("%.1f %s", float64(n)/float64(scale), units[u])
}
