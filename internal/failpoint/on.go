//go:build failpoint && linux

package failpoint

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

const variable = "DSM_FAILPOINT"

// step is one part of a plan.
type step struct {
	point  string
	left   int // times to come to it yet
	action string
}

var (
	mu    sync.Mutex
	plan  []step
	trace *os.File
	seen  = map[string]bool{}

	watcher atomic.Pointer[func(point string)]
)

func init() {
	if err := Arm(os.Getenv(variable)); err != nil {
		panic(err)
	}
}

// Arm sets the plan of this process and of those that it will start.
func Arm(text string) error {
	mu.Lock()
	defer mu.Unlock()
	plan = nil
	for part := range strings.SplitSeq(text, ",") {
		if part == "" {
			continue
		}
		point, action, ok := strings.Cut(part, "=")
		if ok && point == "trace" {
			f, err := os.OpenFile(action, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
			if err != nil {
				return err
			}
			trace = f
			continue
		}
		point, nth, counted := strings.Cut(point, "#")
		n := 1
		if counted {
			n, _ = strconv.Atoi(nth)
		}
		if !ok || n < 1 {
			return fmt.Errorf("failpoint: %q is not POINT[#N]=ACTION", part)
		}
		plan = append(plan, step{point, n, action})
	}
	return os.Setenv(variable, text)
}

// Watch has f called at each point that this process comes to, by whatever goroutine does, until stop.
func Watch(f func(point string)) (stop func()) {
	watcher.Store(&f)
	return func() { watcher.Store(nil) }
}

// Hit marks a place where a process may die or be held up.
func Hit(point string) {
	if f := watcher.Load(); f != nil {
		(*f)(point)
	}
	if action := come(point); !act(action) {
		panic("failpoint: no action " + action + " at " + point)
	}
}

// Err marks a system call that may fail, and is the error that it is to fail with; nil: make the
// call. A process may die or be held up there, too.
func Err(point string) error {
	action := come(point)
	if act(action) {
		return nil
	}
	for errno := syscall.Errno(1); errno < 200; errno++ {
		if unix.ErrnoName(errno) == action {
			return errno
		}
	}
	panic("failpoint: no error " + action)
}

// act does an action that can be done anywhere, and reports whether the action is one of those.
func act(action string) bool {
	switch action {
	case "":
	case "kill":
		die(unix.SIGKILL)
	case "stop":
		die(unix.SIGSTOP)
	case "exit":
		os.Exit(3)
	default:
		return false
	}
	return true
}

// come notes that the process has come to a point, and says what it is to do there.
func come(point string) (action string) {
	mu.Lock()
	defer mu.Unlock()
	if trace != nil && !seen[point] {
		seen[point] = true
		_, _ = trace.WriteString(point + "\n") // one write: others append too
	}
	for i := range plan {
		if s := &plan[i]; s.point == point {
			if s.left--; s.left == 0 {
				return s.action
			}
		}
	}
	return ""
}

// die sends the signal to this very thread: it does not get past it.
func die(s unix.Signal) {
	_ = unix.Tgkill(unix.Getpid(), unix.Gettid(), s)
}
