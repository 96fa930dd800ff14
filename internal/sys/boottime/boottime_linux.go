package boottime

import (
	"time"

	"golang.org/x/sys/unix"
)

// Now returns the time since the machine has started.
func Now() time.Duration {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &t) != nil {
		return time.Duration(time.Now().UnixNano())
	}
	return time.Duration(t.Nano())
}
