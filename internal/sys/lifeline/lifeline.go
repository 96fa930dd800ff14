// Package lifeline ends a process's children with it, where the system can do so by itself. It is the
// second line: a child that listens ends by the end of the pipe from its parent, on every system.
package lifeline

import "os"

// Tie ties a child's life to this process's: on Windows the child is killed when this process has ended, however that
// happened. What the child starts is not tied. Elsewhere Tie does nothing: Linux's parent-death
// signal comes when the thread that started the child ends, which a Go program does not rule.
func Tie(child *os.Process) { tie(child) }
