package cli

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// PrintTable prints rows under a heading, columns aligned.
func PrintTable[R any](out io.Writer, heading string, rows []R, line func(R) string) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, heading)
	for _, r := range rows {
		fmt.Fprintln(w, line(r))
	}
	return w.Flush()
}
