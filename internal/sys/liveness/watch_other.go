//go:build !(linux || windows)

package liveness

import (
	"time"

	"github.com/godsm/godsm/internal/errkind"
)

// Sweep is how often the living should be asked for. Nothing else brings news of a death here.
const Sweep = 20 * time.Millisecond

// Watch has no way here that costs no thread.
func Watch(int, func()) (stop func(), err error) { return nil, errkind.Unsupported }

// Stopped reports whether a process is stopped, as far as can be seen; for people.
func Stopped(int) bool { return false }
