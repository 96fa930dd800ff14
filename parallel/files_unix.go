//go:build !windows

package parallel

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// duplicateFiles returns descriptors of the same files for a new process to inherit, and a function that closes them. Why
// not the files themselves: package exec asks for their Fd, and that of a net.Listener's File makes the socket
// blocking, which all who have inherited it share. A process that waits in accept then can't be told to stop.
func duplicateFiles(files []*os.File) (list []*os.File, release func(), err error) {
	release = func() {
		for _, f := range list {
			f.Close()
		}
	}
	for i, f := range files {
		conn, err := f.SyscallConn()
		if err == nil {
			cerr := conn.Control(func(fd uintptr) {
				syscall.ForkLock.RLock()
				defer syscall.ForkLock.RUnlock()
				var twin int
				if twin, err = syscall.Dup(int(fd)); err == nil {
					syscall.CloseOnExec(twin)
					list = append(list, os.NewFile(uintptr(twin), f.Name()))
				}
			})
			err = errors.Join(err, cerr)
		}
		if err != nil {
			release()
			return nil, nil, fmt.Errorf("Options.Files: number %d: %w", i, err)
		}
	}
	return list, release, nil
}

// inheritedFiles opens the files that follow the pipes.
func inheritedFiles(t ticket) (files []*os.File, err error) {
	for i := range t.Files {
		fd := int(max(t.Orders, t.Reports)) + 1 + i
		var st syscall.Stat_t
		if err := syscall.Fstat(fd, &st); err != nil {
			return nil, fmt.Errorf("the ticket was not made for this process: descriptor %d is no file of the leader's (%w)", fd, err)
		}
		syscall.CloseOnExec(fd)
		files = append(files, os.NewFile(uintptr(fd), fmt.Sprintf("file %d of the leader", i)))
	}
	return files, nil
}
