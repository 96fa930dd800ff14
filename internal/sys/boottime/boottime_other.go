//go:build !linux

package boottime

import "time"

// Now returns the time of day.
func Now() time.Duration { return time.Duration(time.Now().UnixNano()) }
