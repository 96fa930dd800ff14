package instance

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/godsm/godsm/control"
	"github.com/godsm/godsm/internal/errkind"
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

// explainNoInstance returns the error for a caller that finds nothing to join, or nothing to read, and why: err is
// what it met.
func (d *Dir) explainNoInstance(ctx context.Context, b Backends, err error) error {
	if r, rerr := d.ReadRecord(); rerr == nil {
		v, verr := d.judge(ctx, b, r, 0)
		switch {
		case verr != nil:
		case v.Standing == OtherVersion:
			return d.errOtherVersion(r)
		case v.Standing == OtherMemory, v.Standing == Elsewhere:
			return errkind.As(errkind.NoInstance, fmt.Errorf("no instance in %s that can be joined from here: %s",
				d.Path, v.Why))
		case v.Standing == Bereft:
			return NoInstance(d.Path, fmt.Sprintf("%v; %d sessions live, and %s", err, v.Sessions, v.Why))
		}
	}
	if errors.Is(err, errkind.Corrupt) || errors.Is(err, errkind.NoInstance) {
		return err
	}
	return NoInstance(d.Path, err.Error())
}
