// Package callback calls functions that belong to the program, whichever way out each takes: it may return, panic, or
// end its goroutine (runtime.Goexit, which t.FailNow calls).
package callback

import (
	"fmt"
	"path/filepath"
	"reflect"
	"runtime"

	"github.com/godsm/godsm/internal/excerpt"
)

// Call is a function, and the function that is told if it does not return. Without Report a panic goes on once all have
// been called.
type Call struct {
	F      func()
	Report func(error)
}

// All calls the functions one after another, whatever the others do. A Goexit goes on once all have been called.
func All(list []Call) {
	at := 0
	defer func() {
		if at == len(list) {
			return
		}
		c, r := list[at], recover()
		switch {
		case c.Report != nil:
			c.Report(wayOut(c.F, r))
		case r != nil:
			defer panic(r)
		}
		All(list[at+1:])
	}()
	for ; at < len(list); at++ {
		list[at].F()
	}
}

// wayOut returns the error of a function that did not return; r is what it panicked with.
func wayOut(f func(), r any) error {
	if r == nil {
		return fmt.Errorf("the function %s ended its goroutine (runtime.Goexit)", Name(f))
	}
	return fmt.Errorf("the function %s panicked: %s", Name(f), excerpt.Print(r))
}

// Name returns a function's name, and where it is in the source.
func Name(f any) string {
	is := runtime.FuncForPC(reflect.ValueOf(f).Pointer())
	if is == nil {
		return "without a name"
	}
	file, line := is.FileLine(is.Entry())
	return fmt.Sprintf("%s (%s:%d)", is.Name(), filepath.Base(file), line)
}
