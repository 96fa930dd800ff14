//go:build unix

package sdnotify

import (
	"errors"
	"net"
	"syscall"
)

// send writes a message, once. A net.Conn's own Write would wait for room.
func send(conn *net.UnixConn, b []byte) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var werr error
	err = raw.Write(func(fd uintptr) (done bool) {
		for {
			if _, werr = syscall.Write(int(fd), b); werr != syscall.EINTR {
				return true
			}
		}
	})
	if werr == syscall.EAGAIN || werr == syscall.ENOBUFS {
		werr = errBusy
	}
	return errors.Join(err, werr)
}
