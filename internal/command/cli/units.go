package cli

import (
	"fmt"
	"time"

	"github.com/godsm/godsm/internal/bytesize"
)

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
