package parallel

import (
	"fmt"
	"runtime/debug"

	"github.com/godsm/godsm/internal/excerpt"
)

// A callback is a function of the program that uses this package. It may end as any function may: return, fail, panic,
// call runtime.Goexit, or end its process. Each way is an error of the run that names the callback, but
// for the last one, which the other side of the pipe finds out.

// callFunction calls a callback for a worker's message and returns its error, which says what of which worker it was
// about. A panic in it is an error with the stack. If it calls runtime.Goexit, as t.FailNow does, the goroutine ends;
// left has the error then.
func callFunction(what string, worker int, name string, left *error, f func() error) (err error) {
	about := func(err error) error { return fmt.Errorf("the %s of worker %d: %w", what, worker, err) }
	returned := false
	defer func() {
		if p := recover(); p != nil {
			err = about(errFunctionPanicked(name, p))
		} else if !returned {
			*left = about(errFunctionExited(name))
		}
	}()
	if err = f(); err != nil {
		err = about(err)
	}
	returned = true
	return err
}

// containFunction calls f in a goroutine of its own, so that runtime.Goexit in it, too, is an error and not the end of the
// caller.
func containFunction(name string, f func() error) (err error) {
	over := make(chan struct{})
	go func() {
		returned := false
		defer close(over)
		defer func() {
			if p := recover(); p != nil {
				err = errFunctionPanicked(name, p)
			} else if !returned {
				err = errFunctionExited(name)
			}
		}()
		err = f()
		returned = true
	}()
	<-over
	return err
}

// abnormal is the error of a callback that did not return.
type abnormal string

func (a abnormal) Error() string { return string(a) }

func errFunctionExited(name string) error {
	return abnormal(name + " called runtime.Goexit, as t.FailNow does")
}

func errFunctionPanicked(name string, p any) error {
	return abnormal(fmt.Sprintf("%s: panic: %s\n%s", name, excerpt.Print(p), debug.Stack()))
}

func functionName(task string) string { return fmt.Sprintf("the function of task %q", task) }
