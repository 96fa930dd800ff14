package endtest

import (
	"runtime"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/godsm/godsm/shm"
)

// use calls a use while the session may end. In checked mode the bytes are inaccessible then.
func (w *world) use(name string, i int) error {
	return w.late(func() error { return uses[name](w, i) })
}

// late calls f, which may load and store in bytes that have ended. In checked mode that is a fault. Of the functions of the
// library none may meet one but those that are bytes and no calls: they have no fault scope, and their docs say so.
func (w *world) late(f func() error) (err error) {
	if !w.s.Self().Checked {
		return f()
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		r := recover()
		if r == nil {
			return
		}
		if err = shm.Fault(r); err == nil {
			panic(r)
		}
		if at := faultAt(); !slices.ContainsFunc(bytesThemselves, func(is string) bool { return strings.HasPrefix(at, is) }) {
			err = wrong("a fault in %s: %v", at, err)
		}
	}()
	return f()
}

// bytesThemselves are the functions that may fault in checked mode, by the beginning of their names.
var bytesThemselves = []string{
	"internal/testing/endtest.", "shm/shmsync.(*EventCount).", "shm/shmsync.(*Cond).", "shm/shmsync.(*Ticket).", "shm/shmsync.Ticket.", "shm/dsa.Place.", "shm/dsa.storeOrdered", // of a Place
}

// faultAt returns the function of this module that the fault was in whose panic is being recovered.
func faultAt() string {
	var pcs [64]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(0, pcs[:])])
	for faulted := false; ; {
		f, more := frames.Next()
		if name, is := strings.CutPrefix(f.Function, "github.com/godsm/godsm/"); is && faulted && !strings.HasPrefix(name, "internal/sys/ordered.") {
			return name
		}
		if faulted = faulted || f.Function == "runtime.sigpanic"; !more {
			return "a place that is not known"
		}
	}
}
