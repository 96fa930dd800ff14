package shm

import (
	"fmt"
	"path/filepath"
	"reflect"
	"runtime"
)

// Report has f called with an error for each function of OnEnd, OnDrain and Drain that panicked, or that ended its
// goroutine (runtime.Goexit), of this view and of those that are made of it afterwards. The error names the function. Such
// a function keeps none of the others from being called. Without a Report the panic goes on once all have been called; a
// Goexit goes on then in any case. Report is for the package that makes the view, before others have it.
func (v *View) Report(f func(error)) {
	if v != nil {
		v.report = f
	}
}

// call is a function, and who is told if it does not return; nil for the view's own.
type call struct {
	f      func()
	report func(error)
}

// callAll calls the functions one after another, whichever way out each takes.
func callAll(list []call) {
	at := 0
	defer func() {
		if at == len(list) {
			return
		}
		c, r := list[at], recover()
		switch {
		case c.report != nil:
			c.report(wayOut(c.f, r))
		case r != nil:
			defer panic(r)
		}
		callAll(list[at+1:])
	}()
	for ; at < len(list); at++ {
		list[at].f()
	}
}

// wayOut is the error of a function that did not return.
func wayOut(f func(), r any) error {
	name := "a function of a view"
	if is := runtime.FuncForPC(reflect.ValueOf(f).Pointer()); is != nil {
		file, line := is.FileLine(is.Entry())
		name = fmt.Sprintf("the function %s (%s:%d) of a view", is.Name(), filepath.Base(file), line)
	}
	if r == nil {
		return fmt.Errorf("%s ended its goroutine (runtime.Goexit)", name)
	}
	return fmt.Errorf("%s panicked: %v", name, r)
}
