package bell

import (
	"errors"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// socket has an abstract address.
type socket struct {
	conn *net.UnixConn
	raw  syscall.RawConn
	look func(fd uintptr) bool
	d    time.Duration // of the last Wait
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
	b.socket = socket{conn: conn, raw: raw, look: b.look}
	b.stopped.Store(true) // the first Wait sets a deadline
	return true
}

func (b *Bell) wait(d time.Duration) (late bool) {
	if b.stopped.Swap(false) || d != b.socket.d {
		b.socket.d = d
		b.setDeadline(d)
	}
	b.told = false
	late = errors.Is(b.socket.raw.Read(b.socket.look), os.ErrDeadlineExceeded)
	if late && d > 0 { // it stands until it has come: to move it at each Wait would cost more
		b.setDeadline(d)
	}
	return late
}

func (b *Bell) setDeadline(d time.Duration) {
	var end time.Time
	if d > 0 {
		end = time.Now().Add(d)
	}
	_ = b.socket.conn.SetReadDeadline(end)
}

// look reports whether the sleep is over. It is called before the sleep, at a point after which a ring counts, and when
// one has come. Before a sleep it takes the rings of a time when no goroutine slept: they would fill the socket, and a full
// one hears nothing.
func (b *Bell) look(fd uintptr) bool {
	if b.told {
		taken(fd) // as long as it lies there it counts as the sender's, who may have so many
		return true
	}
	if b.ready() {
		return true
	}
	b.told = true
	for range atOnce {
		if !taken(fd) {
			return b.ready()
		}
	}
	return true // a goroutine floods it: the caller has other things to look after
}

const atOnce = 16

func (b *Bell) interrupt() { _ = b.socket.conn.SetReadDeadline(time.Unix(1, 0)) }

func (b *Bell) close() { _ = b.socket.conn.Close() }

// caller is the socket that this process rings with, plus one; 0 as long as there is none.
var caller atomic.Int64

func newCaller() (int, error) {
	return unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
}

func ring(name uint64) bool {
	fd := int(caller.Load()) - 1
	if fd < 0 {
		var err error
		if fd, err = newCaller(); err != nil {
			return true
		}
		if !caller.CompareAndSwap(0, int64(fd)+1) {
			_ = unix.Close(fd)
			fd = int(caller.Load()) - 1
		}
	}
	err := send(fd, name)
	if err == unix.EAGAIN { // the bell is full, or the caller, of rings that no goroutine has taken at other bells
		if fd, err := newCaller(); err == nil {
			_ = send(fd, name)
			_ = unix.Close(fd)
		}
	}
	return err != unix.ECONNREFUSED && err != unix.ENOENT
}

const prefix = "\x00godsm-bell-"

// address returns the bytes of the socket's path.
func address(name uint64) (path [len(prefix) + 16]byte) {
	copy(path[:], prefix)
	for i := range 16 {
		path[len(prefix)+i] = "0123456789abcdef"[name>>(4*i)&15]
	}
	return path
}
