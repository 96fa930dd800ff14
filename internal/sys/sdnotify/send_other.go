//go:build !unix

package sdnotify

import (
	"errors"
	"net"
)

// send fails: these systems have no service managers of this kind.
func send(*net.UnixConn, []byte) error { return errors.ErrUnsupported }
