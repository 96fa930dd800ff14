//go:build !unix

package sdnotify

import (
	"errors"
	"net"
)

// send is for systems without service managers of this kind.
func send(*net.UnixConn, []byte) error { return errors.ErrUnsupported }
