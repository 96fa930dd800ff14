package instance

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/godsm/godsm/control"
	"github.com/godsm/godsm/internal/errkind"
)

// NoInstance returns the error for a directory without a living instance.
func NoInstance(path, why string) error {
	return errkind.As(errkind.NoInstance,
		fmt.Errorf("no running instance in %s (%s); start one with: dsmctl supervise --dir %s", path, why, path))
}

// refusedBySystem returns err if it is the system's refusal to look, which says nothing about what is there; else nil.
func refusedBySystem(err error) error {
	for _, errno := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.ENOSPC, syscall.EACCES,
		syscall.EPERM, syscall.EINTR, syscall.EIO} {
		if errors.Is(err, errno) {
			return err
		}
	}
	return nil
}

// errOtherVersion returns the error for a living life of another layout version; nil if r is of this program's.
func (d *Dir) errOtherVersion(r Record) error {
	if r.Layout == control.LayoutVersion {
		return nil
	}
	return errkind.OtherVersion("the instance in "+d.Path, uint64(r.Layout), control.LayoutVersion,
		fmt.Sprintf("process %d, its supervisor, and its sessions", r.SupervisorPid))
}
