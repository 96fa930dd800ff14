package instance

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/godsm/godsm/control"
	"github.com/godsm/godsm/internal/sys/liveness"
)

// Explain adds what the operating system knows to an error of package control, and what to do to
// the system's own. It is for the edges: call it once.
func Explain(err error) error {
	if busy, ok := errors.AsType[*control.BusyError](err); ok && liveness.Stopped(busy.Pid) {
		return fmt.Errorf("%w; that process is stopped: continue or kill it", err)
	}
	for _, c := range cures {
		if errors.Is(err, c.errno) {
			return fmt.Errorf("%w; %s", err, c.text)
		}
	}
	return err
}

// cures are for errors of which neither their own text nor a backend's says what to do.
var cures = []struct {
	errno syscall.Errno
	text  string
}{
	{syscall.EMFILE, "raise this process's limit of open files (ulimit -n, LimitNOFILE= in a unit)"},
	{syscall.ENFILE, "raise the machine's limit of open files (fs.file-max)"},
	{syscall.EFBIG, "this process's limit of file sizes (ulimit -f, LimitFSIZE= in a unit) " +
		"counts shared memory too: raise it"},
	{syscall.EROFS, "mount it read-write, or choose another directory or dynamic_shared_memory_type"},
}
