package bell

import (
	"errors"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// socket has an abstract address.
type socket struct {
	conn *net.UnixConn
	raw  syscall.RawConn
	look func(fd uintptr) bool
}

func (b *Bell) open() bool {
	path := address(b.name)
	path[0] = '@' // what package net writes for the zero byte
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: string(path[:]), Net: "unixgram"})
	if err != nil {
		return false
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		_ = conn.Close()
		return false
	}
	b.socket = socket{conn, raw, b.look}
	b.stopped.Store(true) // the first Wait sets a deadline
	return true
}

func (b *Bell) wait(d time.Duration) (late bool) {
	if b.stopped.Swap(false) {
		_ = b.socket.conn.SetReadDeadline(time.Now().Add(d))
	}
	b.told = false
	late = errors.Is(b.socket.raw.Read(b.socket.look), os.ErrDeadlineExceeded)
	if late { // it stands until it has come: to move it at each Wait would cost more
		_ = b.socket.conn.SetReadDeadline(time.Now().Add(d))
	}
	return late
}

// look is called before the sleep, at a point after which a ring counts, and when one has come. Rings are taken
// before a sleep: those of a time when nobody slept would fill the socket, and a full one hears nothing.
func (b *Bell) look(fd uintptr) bool {
	if b.told || b.ready() {
		return true
	}
	b.told = true
	for taken(fd) {
	}
	return b.ready()
}

func (b *Bell) interrupt() { _ = b.socket.conn.SetReadDeadline(time.Unix(1, 0)) }

func (b *Bell) close() { _ = b.socket.conn.Close() }

// caller is the socket that this process rings with; -1 if there is none.
var caller = sync.OnceValue(func() int {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1
	}
	return fd
})

const prefix = "\x00godsm-bell-"

// address is the bytes of the socket's path.
func address(name uint64) (path [len(prefix) + 16]byte) {
	copy(path[:], prefix)
	for i := range 16 {
		path[len(prefix)+i] = "0123456789abcdef"[name>>(4*i)&15]
	}
	return path
}
