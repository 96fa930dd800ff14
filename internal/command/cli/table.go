package cli

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/godsm/godsm/internal/bytesize"
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

// Age returns how many seconds ago t was, to a millisecond.
func Age(t time.Time) float64 { return float64(time.Since(t).Milliseconds()) / 1000 }

// Seconds formats a number of seconds for a person.
func Seconds(s float64) string {
	return time.Duration(s * float64(time.Second)).Round(100 * time.Millisecond).String()
}

// Yes formats a boolean for a person.
func Yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// Size formats a number of bytes for a person.
func Size(n int64) string { return bytesize.Format(uint64(max(n, 0))) }

// Percent formats a share of 1 for a person.
func Percent(rate float64) string { return fmt.Sprintf("%.1f %%", rate*100) }

// Count returns a column of whole numbers.
func Count[R any, N int | int64 | uint64](name, heading string, n func(R) N) Column[R] {
	return Column[R]{Name: name, Heading: heading, Text: func(r R) string { return fmt.Sprint(n(r)) },
		Number: func(r R) float64 { return float64(n(r)) }}
}

// Bytes returns a column of sizes in the units of settings.
func Bytes[R any](name, heading string, n func(R) int64) Column[R] {
	return Column[R]{Name: name, Heading: heading, Text: func(r R) string { return Size(n(r)) },
		Number: func(r R) float64 { return float64(n(r)) }}
}

// Part returns a column of parts of 1.
func Part[R any](name, heading string, n func(R) float64) Column[R] {
	return Column[R]{Name: name, Heading: heading, Text: func(r R) string { return Percent(n(r)) }, Number: n}
}

// Time returns a column of times in seconds.
func Time[R any](name, heading string, n func(R) float64) Column[R] {
	return Column[R]{Name: name, Heading: heading, Text: func(r R) string { return Seconds(n(r)) }, Number: n}
}
