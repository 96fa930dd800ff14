//go:build unix

package liveness

import "golang.org/x/sys/unix"

// Unseen reports whether no process that can be seen from here has the pid; for people.
func Unseen(pid int) bool { return pid > 0 && unix.Kill(pid, 0) == unix.ESRCH }
